"""What branch and bound decides: one margin over a reduced network, some of whose neurons are split."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evaluator.certify.dual import GOAL, Dual, Duals, ascend, dual_bound, proved
from evaluator.certify.reduced import Reduced, Rows


@dataclass(frozen=True, eq=False)
class Problem:
    """Is there an input with target <= 0 within the splits? One margin over a reduced network.

    network, target: in float64, target one row; duals: one row in float32, the splits and the values that gave `lower`.
    """

    network: Reduced
    target: Rows
    duals: Duals
    lower: float

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
