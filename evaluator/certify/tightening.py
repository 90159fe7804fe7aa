"""Bounds of neurons on the part of the input set that could still hold a counterexample.

A counterexample has margin <= 0. Minimising z + gamma * margin over the relaxation for a gamma >= 0 therefore bounds z from
below wherever a counterexample can be, and often far better than without the term. The worse the margin's own bound fits a
point, the more the term helps. Tighter neurons give a tighter margin, and so in turn; where a neuron's two bounds cross,
there is no counterexample at all. In global optimisation this is bound tightening with an objective cutoff (Gleixner et al.
2017, "Three enhancements for optimization-based bound tightening"); for networks see Kotha et al. 2023 (INVPROP).

The few steps that a round can afford leave a neuron's duals far from their best. They are kept with the problem, through splits
and substitutions, and the next round goes on from there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from evaluator.certify.dual import Cut, Duals, ascend, gaps, proved
from evaluator.certify.problem import NeuronDuals, Problem, places
from evaluator.certify.reduced import Rows, settle

ROWS = 400  # neurons tightened at most in one round, those whose relaxation costs the margin most
RATE, DECAY = 0.1, 0.88  # of Adam: slower than elsewhere, for a round goes on where the last one ended
MULTIPLIER = 0.3  # where gamma starts, in units of width / -bound of the margin


def beginning(problem: Problem, chosen: Tensor) -> NeuronDuals:
    """Where bounding the neurons `chosen` begins: where it last ended, and at the margin's own duals for new ones."""
    width = (problem.network.upper - problem.network.lower)[chosen].float()
    gamma = (MULTIPLIER * width / max(-problem.lower, 1e-3)).expand(2, -1)
    own = NeuronDuals(chosen, problem.duals.splits[0], problem.duals.values.expand(2, len(chosen), -1), gamma)
    if problem.of_neurons is None:
        return own
    found = own.joined(problem.of_neurons, own.splits)
    return found[places(found.at, len(found.splits))[chosen]]


def bounded_again(problem: Problem, chosen: Tensor, steps: int) -> tuple[NeuronDuals, Tensor, Tensor]:
    """Bounds (k,) of the neurons `chosen` where a counterexample can be, and the duals that give them."""
    network, target = problem.narrow
    begun = beginning(problem, chosen)
    unit = (network.upper - network.lower)[chosen].repeat(2) / max(-problem.lower, 1e-3)
    cut, values = Cut(target, begun.gamma.flatten() / unit, unit), begun.values.flatten(0, 1)
    duals = Duals(begun.splits.expand(len(values), -1), values, problem.duals.scale)
    neurons = network.neurons[chosen]
    found = ascend(network, Rows.cat([neurons, -neurons]), duals, steps=steps, rate=RATE, decay=DECAY, cut=cut)
    assert found.cut is not None
    exact = problem.network.neurons[chosen]
    rows = replace(found.cut, target=problem.target).added(Rows.cat([exact, -exact]))
    low, high = proved(problem.network, rows, found.duals).chunk(2)
    gamma = (found.cut.multipliers * unit).reshape(begun.gamma.shape)
    return NeuronDuals(chosen, begun.splits, found.duals.values.reshape(begun.values.shape), gamma), low, -high


def tightened(problem: Problem, first: int, steps: int) -> Problem:
    """Better bounds of the neurons in layers `first` and later, then a better bound of the margin."""
    network = problem.network
    costs = gaps(problem.narrow[0], problem.dual(), problem.duals)[0]
    costs[: network.layers[first].start] = -1.0
    chosen = costs.topk(min(ROWS, int((costs > 0).sum()))).indices
    if not len(chosen):
        return problem
    known, low, high = bounded_again(problem, chosen, steps)
    if problem.of_neurons is not None:
        known = problem.of_neurons.joined(known, known.splits)
    lower, upper = network.lower.clone(), network.upper.clone()
    lower[chosen], upper[chosen] = torch.maximum(lower[chosen], low), torch.minimum(upper[chosen], high)
    if bool((lower > upper).any()):
        return replace(problem, lower=torch.inf)
    settled = settle(replace(network, lower=lower, upper=upper), problem.target, problem.duals.splits[0] != 0)
    splits, values = (part[:, settled.left] for part in (problem.duals.splits, problem.duals.values))
    duals = Duals(splits, values, problem.duals.scale[settled.left])
    return Problem(settled.network, settled.target, duals, problem.lower, known.left(settled.left)).bounded(steps)
