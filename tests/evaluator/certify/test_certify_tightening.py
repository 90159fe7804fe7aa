"""Neurons' bounds where a counterexample can be: they hold there, and a round goes on where the last one ended."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from evaluator.certify import tightening
from evaluator.certify.branch_and_bound import root_problems
from evaluator.certify.inputs import Norm
from evaluator.certify.problem import NeuronDuals, Problem, places
from evaluator.certify.reduced import Rows
from evaluator.certify.tightening import beginning, bounded_again, tightened
from tests.evaluator.certify_cases import EPSILON, Case, case, run


def open_problem(made: Case, rival: int) -> Problem:
    """A margin so moved that a tenth of the case's points are counterexamples."""
    margins = made.margins[rival : rival + 1]
    shift = made.true_margins()[:, rival].quantile(0.1)
    (problem,) = root_problems(made.network, Rows(margins.on_input, margins.on_relus, margins.constant - shift), steps=10)
    return problem


@pytest.mark.parametrize("norm", list(EPSILON))
def test_tightened_neurons_hold_wherever_a_counterexample_is(norm: Norm) -> None:
    fewer = 0
    for seed in range(4):
        made = case(seed, norm)
        values, x = made.true_margins(), made.points.flatten(1)
        shift = values.quantile(0.1, dim=0)  # a tenth of the points are counterexamples to the shifted margins
        margins = Rows(made.margins.on_input, made.margins.on_relus, made.margins.constant - shift)
        for rival, target in enumerate((margins[:1], margins[1:])):
            (problem,) = root_problems(made.network, target, steps=10)
            wrong = values[:, rival] <= shift[rival]
            for first in (2, 1, 0):
                problem = tightened(problem, first, 10)
                z, r = run(problem.network, made.points[wrong])
                assert not problem.closed
                assert bool(((z >= problem.network.lower - 1e-9) & (z <= problem.network.upper + 1e-9)).all())
                found = problem.target.at(x[wrong], r)[:, 0]
                assert torch.allclose(found, values[wrong, rival] - shift[rival], atol=1e-9)
            fewer += len(problem.network) < len(made.network)
    assert fewer > 0


@pytest.mark.parametrize("sign", [1, -1])
def test_what_bounded_neurons_before_a_split_gives_bounds_that_hold_after_it(sign: int) -> None:
    checked = 0
    for seed in range(4):
        made = case(seed, "linf")
        problem = tightened(open_problem(made, 0), 0, 5)
        z, r = run(problem.network, made.points)
        counter = problem.target.at(made.points.flatten(1), r)[:, 0] <= 0
        neuron = int((sign * z[counter]).amax(dim=0).argmax())
        inside = counter & (sign * z[:, neuron] >= 0)
        half = tightened(problem.child(neuron, sign), 0, 5)
        z, _ = run(half.network, made.points[inside])
        assert bool(((z >= half.network.lower - 1e-9) & (z <= half.network.upper + 1e-9)).all())
        checked += int(inside.sum())
    assert checked > 40


def width(problem: Problem) -> float:
    return float((problem.network.upper - problem.network.lower).sum())


def test_rounds_that_go_on_reach_better_bounds_than_rounds_that_begin_anew() -> None:
    lower = torch.zeros(2)
    for seed, rival in itertools.product(range(4), range(2)):
        again = anew = open_problem(case(seed, "linf"), rival)
        for _ in range(6):
            again, anew = tightened(again, 0, 2), replace(tightened(anew, 0, 2), of_neurons=None)
        assert width(again) < width(anew)
        lower += torch.tensor([again.lower, anew.lower])
    assert lower[0] > 0.98 * lower[1]


def known(at: list[int], splits: list[int], value: float) -> NeuronDuals:
    values = value + torch.arange(len(splits)) / 10 + torch.arange(len(at))[:, None] / 100 + torch.zeros(2, 1, 1)
    return NeuronDuals(torch.tensor(at), torch.tensor(splits, dtype=torch.int8), values, torch.full((2, len(at)), value))


def test_later_duals_count_and_what_is_split_since_then_has_no_multiplier_yet() -> None:
    now = torch.tensor([0, 1, 0, -1], dtype=torch.int8)
    both = known([3, 0], [0, 1, 0, 0], 1.0).joined(known([0, 2], [0, 1, 0, -1], 2.0), now)
    assert both.at.tolist() == [3, 0, 2]
    assert places(both.at, 4).tolist() == [1, -1, 2, 0]
    assert torch.equal(both.splits, now)
    expected = torch.tensor([[1.0, 1.1, 1.2, 0.0], [2.0, 2.1, 2.2, 2.3], [2.01, 2.11, 2.21, 2.31]])
    assert torch.allclose(both.values, expected.expand(2, -1, -1))
    assert both.gamma[1].tolist() == [1.0, 2.0, 2.0]


def test_duals_of_neurons_follow_the_ones_that_are_left() -> None:
    left = known([3, 0, 2], [0, 1, 0, -1], 1.0).left(torch.tensor([1, 2, 3]))
    assert left.at.tolist() == [2, 1]
    assert left.splits.tolist() == [1, 0, -1]
    assert torch.allclose(left.values, torch.tensor([[1.1, 1.2, 1.3], [1.12, 1.22, 1.32]]).expand(2, -1, -1))
    assert left.gamma.shape == (2, 2)


def test_a_neuron_begins_where_it_ended_and_a_new_one_at_the_margins_own_duals() -> None:
    problem = open_problem(case(0, "linf"), 0)
    u = len(problem.network)
    ended = NeuronDuals(torch.tensor([2]), problem.duals.splits[0], torch.full((2, 1, u), 0.25), torch.full((2, 1), 7.0))
    half = replace(problem, of_neurons=ended).child(u - 1, 1)
    begun = beginning(half, torch.tensor([0, 2]))
    assert begun.at.tolist() == [0, 2]
    assert torch.equal(begun.splits, half.duals.splits[0])
    assert torch.equal(begun.values[:, 0], half.duals.values.expand(2, -1))
    assert bool((begun.values[:, 1, :-1] == 0.25).all())
    assert not bool(begun.values[:, 1, -1].any())
    assert begun.gamma[:, 1].tolist() == [7.0, 7.0]
    assert bool((begun.gamma[:, 0] != 7).all())


def test_no_step_leaves_the_duals_where_they_began() -> None:
    problem, chosen = open_problem(case(0, "linf"), 0), torch.tensor([1, 4])
    begun, (ended, low, high) = beginning(problem, chosen), bounded_again(problem, chosen, 0)
    assert torch.equal(ended.values, begun.values)
    assert torch.allclose(ended.gamma, begun.gamma)
    assert bool((low < high).all())


def test_neurons_that_a_round_leaves_out_stay_known(monkeypatch: pytest.MonkeyPatch) -> None:
    once = tightened(open_problem(case(0, "linf"), 0), 0, 2)
    monkeypatch.setattr(tightening, "ROWS", 1)
    twice = tightened(once, 0, 2)
    assert once.of_neurons is not None
    assert twice.of_neurons is not None
    assert len(twice.of_neurons.at) >= len(once.of_neurons.at) - 1 > 1
