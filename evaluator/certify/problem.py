"""What branch and bound decides: one margin over a reduced network, some of whose neurons are split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluator.certify.dual import GOAL, Dual, Duals, ascend, dual_bound, proved
from evaluator.certify.reduced import Reduced, Rows


def places(of: Tensor, count: int) -> Tensor:
    """(count,): where each of 0, 1, ... stands in `of`, -1 where it does not."""
    return torch.full((count,), -1).index_copy_(0, of, torch.arange(len(of)))


@dataclass(frozen=True, eq=False)
class NeuronDuals:
    """What single neurons were bounded with, where bounding them again begins.

    at (k,): the neurons. Splits (u,): those of that time. Values (2, k, u) and gamma (2, k): the duals, and the multiplier of
    the margin, for the lower bounds and the upper ones.
    """

    at: Tensor
    splits: Tensor
    values: Tensor
    gamma: Tensor

    def __getitem__(self, rows: Tensor) -> NeuronDuals:
        return NeuronDuals(self.at[rows], self.splits, self.values[:, rows], self.gamma[:, rows])

    def joined(self, other: NeuronDuals, splits: Tensor) -> NeuronDuals:
        """Both, the other's where both know a neuron; with multipliers of 0 for what is split since then."""
        parts = self[~torch.isin(self.at, other.at)], other
        values = [part.values.masked_fill(part.splits != splits, 0.0) for part in parts]
        gamma = torch.cat([part.gamma for part in parts], dim=1)
        return NeuronDuals(torch.cat([part.at for part in parts]), splits, torch.cat(values, dim=1), gamma)

    def left(self, neurons: Tensor) -> NeuronDuals:
        """Over these neurons (positions) alone."""
        position = places(neurons, len(self.splits))
        found = self[position[self.at] >= 0]
        return NeuronDuals(position[found.at], self.splits[neurons], found.values[:, :, neurons], found.gamma)


@dataclass(frozen=True, eq=False)
class Problem:
    """Is there an input with target <= 0 within the splits? One margin over a reduced network.

    network, target: in float64, target one row; duals: one row in float32, the splits and the values that gave `lower`;
    of_neurons: what bounded its neurons so far.
    """

    network: Reduced
    target: Rows
    duals: Duals
    lower: float
    of_neurons: NeuronDuals | None = None

    @property
    def narrow(self) -> tuple[Reduced, Rows]:
        """Network and target in float32, to search with."""
        return self.network.narrow, self.target.narrow

    @property
    def closed(self) -> bool:
        """Whether a proof has been found that there is none."""
        return self.lower > 0

    def dual(self) -> Dual:
        """The backward pass that gives `lower`."""
        return dual_bound(*self.narrow, self.duals)

    def bounded(self, steps: int) -> Problem:
        """With improved duals; a `lower` above 0 is proved."""
        found = ascend(*self.narrow, self.duals, steps=steps, goal=GOAL)
        lower = found.lower if float(found.lower) <= 0 else proved(self.network, self.target, found.duals)
        return replace(self, duals=found.duals, lower=float(lower))

    def child(self, neuron: int, sign: int) -> Problem:
        """The half with z >= 0 (sign 1) or z <= 0 (sign -1) of a neuron."""
        splits, values = self.duals.splits.clone(), self.duals.values.clone()
        splits[0, neuron], values[0, neuron] = sign, 0.0
        return replace(self, duals=Duals(splits, values, self.duals.scale))
