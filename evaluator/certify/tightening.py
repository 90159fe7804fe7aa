"""Bounds of neurons on the part of the input set that could still hold a counterexample.

A counterexample has margin <= 0. Minimising z + gamma * margin over the relaxation for a gamma >= 0 therefore bounds z from
below wherever a counterexample can be, and often far better than without the term: the worse the margin's own bound fits a
point, the more the term helps. Tighter neurons give a tighter margin, and so in turn; where a neuron's two bounds cross,
there is no counterexample at all. In global optimisation this is bound tightening with an objective cutoff (Gleixner et al.
2017, "Three enhancements for optimization-based bound tightening"); for networks see Kotha et al. 2023 (INVPROP).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from evaluator.certify.dual import Cut, Duals, ascend, gaps, proved
from evaluator.certify.problem import Problem
from evaluator.certify.reduced import Rows, settle

ROWS = 400  # neurons tightened at most in one round, those whose relaxation costs the margin most
MULTIPLIER = 0.3  # where gamma starts, in units of width / -bound of the margin


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
