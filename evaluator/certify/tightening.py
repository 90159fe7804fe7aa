"""Bounds of neurons on the part of the input set that could still hold a counterexample.

A counterexample has margin <= 0. Minimising z + gamma * margin over the relaxation for a gamma >= 0 therefore bounds z from
below wherever a counterexample can be, and often far better than without the term: the worse the margin's own bound fits a
point, the more the term helps. Tighter neurons give a tighter margin, and so in turn; where a neuron's two bounds cross,
there is no counterexample at all. In global optimisation this is bound tightening with an objective cutoff (Gleixner et al.
2017, "Three enhancements for optimization-based bound tightening"); for networks see Kotha et al. 2023 (INVPROP).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from evaluator.certify.dual import GOAL, Cut, Dual, Duals, ascend, dual_bound, gaps, proved
from evaluator.certify.reduced import Reduced, Rows, settle

ROWS = 400  # neurons tightened at most in one round, those whose relaxation costs the margin most
MULTIPLIER = 0.3  # where gamma starts, in units of width / -bound of the margin


@dataclass(frozen=True, eq=False)
class Problem:
    """Is there an input with target <= 0 within the splits? One margin over a reduced network.

    network, target: in float64, target one row; duals: one row in float32, the splits and the values that gave `lower`.
    """

    network: Reduced
    target: Rows
    duals: Duals
    lower: float

    @cached_property
    def narrow(self) -> tuple[Reduced, Rows]:
        """Network and target in float32, to search with."""
        return self.network.to(torch.float32), self.target.to(torch.float32)

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


def tightened(problem: Problem, first: int, steps: int) -> Problem:
    """Better bounds of the neurons in layers `first` and later, then a better bound of the margin."""
    network, target = problem.narrow
    costs = gaps(network, problem.dual(), problem.duals)[0]
    costs[: network.layers[first].start] = -1.0
    chosen = costs.topk(min(ROWS, int((costs > 0).sum()))).indices
    if not len(chosen):
        return problem
    width = (network.upper - network.lower)[chosen].repeat(2)
    start = torch.full_like(width, MULTIPLIER)
    cut = Cut(target, start, width / max(-problem.lower, 1e-3))
    neurons = network.neurons[chosen]
    found = ascend(network, Rows.cat([neurons, -neurons]), problem.duals.repeat(len(start)), steps=steps, cut=cut)
    assert found.cut is not None
    exact = problem.network.neurons[chosen]
    rows = Cut(problem.target, found.cut.multipliers, found.cut.unit).added(Rows.cat([exact, -exact]))
    low, high = proved(problem.network, rows, found.duals).chunk(2)
    lower, upper = problem.network.lower.clone(), problem.network.upper.clone()
    lower[chosen], upper[chosen] = torch.maximum(lower[chosen], low), torch.minimum(upper[chosen], -high)
    if bool((lower > upper).any()):
        return replace(problem, lower=torch.inf)
    settled = settle(replace(problem.network, lower=lower, upper=upper), problem.target, problem.duals.splits[0] != 0)
    splits, values = (part[:, settled.left] for part in (problem.duals.splits, problem.duals.values))
    duals = Duals(splits, values, problem.duals.scale[settled.left])
    return Problem(settled.network, settled.target, duals, problem.lower).bounded(steps)
