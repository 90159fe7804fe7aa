"""Envelopes: exactly the concave envelope of a ReLU over a box, and bounds made with them hold at points of the ball."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

import evaluator.certify.branch_and_bound as bab
from evaluator.certify.branch_and_bound import branch_and_bound, root_problems
from evaluator.certify.dual import Duals, dual_bound, primal_point, proved, supergradient
from evaluator.certify.envelope import box, enveloped, facets, joined
from evaluator.certify.inputs import Norm
from evaluator.certify.problem import Problem
from evaluator.certify.reduced import Envelope, Reduced, Rows, settle
from evaluator.certify.tightening import tightened
from tests.evaluator.certify_cases import EPSILON, case, run, stable_at
from tests.evaluator.support import sdp_images, sdp_model

PIXELS, RELUS = 3, 2


def neurons(count: int) -> Rows:
    """Neurons over three pixels and two ReLU outputs, some of them blind to some."""
    weights = torch.randn(count, PIXELS + RELUS).double() * (torch.rand(count, PIXELS + RELUS) < 0.8)
    return Rows(weights[:, :PIXELS], weights[:, PIXELS:], torch.randn(count).double())


def envelope_at(row: Rows, low: Tensor, high: Tensor, point: Tensor) -> float:
    """The least concave bound of one neuron's ReLU at a point: the best mean of corners that lies there."""
    corners = np.array(list(itertools.product(*zip(low.tolist(), high.tolist(), strict=True))))
    weight = torch.cat([row.on_input, row.on_relus], dim=1)[0].numpy()
    heights = np.maximum(corners @ weight + float(row.constant), 0.0)
    equal = np.vstack([corners.T, np.ones(len(corners))])
    found = linprog(-heights, A_eq=equal, b_eq=np.append(point.numpy(), 1.0), bounds=(0, None))
    return -float(found.fun)


def test_a_facet_is_the_concave_envelope_at_its_point_and_above_the_relu_everywhere() -> None:
    torch.manual_seed(0)
    rows, size = neurons(60), PIXELS + RELUS
    low, high = -torch.rand(size).double(), torch.rand(size).double()
    low[1] = high[1]  # a pixel that cannot change
    points = low + (high - low) * torch.rand(2000, size).double()
    corners = torch.tensor(list(itertools.product(*zip(low.tolist(), high.tolist(), strict=True)))).double()
    kinds = set()
    for trial in range(3):
        found = facets(rows, low, high, points[trial])
        for where in (points, corners):
            z = rows.at(where[:, :PIXELS], where[:, PIXELS:])
            above = found.at(where[:, :PIXELS], where[:, PIXELS:])
            assert bool((above >= z.clamp_min(0) - 1e-9).all())
        kinds |= {(bool(a), bool(b)) for a, b in zip((z > 0).any(dim=0), (z < 0).any(dim=0), strict=True)}
        height = found.at(points[trial : trial + 1, :PIXELS], points[trial : trial + 1, PIXELS:])[0]
        for i in range(len(rows)):
            assert float(height[i]) == pytest.approx(envelope_at(rows[i : i + 1], low, high, points[trial]), abs=1e-7)
    assert kinds == {(True, True), (True, False), (False, True)}  # unstable, always on, always off


def test_neurons_that_see_nothing_any_more_are_bounded_by_what_they_are() -> None:
    blind = Rows(torch.zeros(2, PIXELS).double(), torch.zeros(2, RELUS).double(), torch.tensor([0.5, -0.5]).double())
    size = PIXELS + RELUS
    found = facets(blind, torch.zeros(size).double(), torch.ones(size).double(), torch.full((size,), 0.5).double())
    assert found.constant.tolist() == [0.5, 0.0]
    assert not found.on_input.any()
    assert not found.on_relus.any()


def test_a_mean_of_facets_keeps_both_and_weighs_where_both_know_a_neuron() -> None:
    torch.manual_seed(1)
    rows = neurons(6)
    old, new = Envelope(torch.tensor([0, 2, 4]), rows[:3], 3), Envelope(torch.tensor([1, 2]), rows[3:5], 0)
    both = joined(old, new, 0.25)
    assert both.at.tolist() == [0, 1, 2, 4]
    assert both.rounds == 4
    assert torch.allclose(both.rows.constant[[0, 1, 3]], rows.constant[[0, 3, 2]])
    assert torch.allclose(both.rows.on_input[2], 0.75 * rows.on_input[1] + 0.25 * rows.on_input[4])
    assert torch.allclose(both.rows.on_relus[2], 0.75 * rows.on_relus[1] + 0.25 * rows.on_relus[4])


def curved(network: Reduced) -> Reduced:
    """With facets at random points, for every neuron but each third."""
    low, high = box(network)
    at = torch.tensor([i for i in range(len(network)) if i % 3])
    rows = Rows.cat([facets(network.neurons[i : i + 1], low, high, low + (high - low) * torch.rand(len(low))) for i in at])
    return replace(network, envelope=Envelope(at, rows, 1))


@pytest.mark.parametrize("norm", list(EPSILON))
def test_any_share_of_an_envelope_gives_a_bound_that_holds_where_the_splits_do(norm: Norm) -> None:
    made, checked = case(2, norm), 0
    z, r = run(made.network, made.points)
    network = curved(replace(made.network, lower=z.amin(dim=0) - 1e-9, upper=z.amax(dim=0) + 1e-9))
    x = made.points.flatten(1)
    assert bool((network.envelope.rows.at(x, r) >= r[:, network.envelope.at] - 1e-9).all())
    values = made.margins.at(x, r)
    for at in range(20):
        splits = torch.where(torch.rand(2, z.shape[1]) < 0.1, z[at].sign(), 0.0).to(torch.int8)
        lower = proved(network, made.margins, Duals(splits, torch.rand(2, z.shape[1]), torch.rand(z.shape[1])))
        for rival in range(2):
            inside = (splits[rival] * z >= 0).all(dim=1)
            assert bool((values[inside, rival] >= lower[rival]).all())
            checked += int(inside.sum())
    assert checked > 100


@dataclass(frozen=True, eq=False)
class Bounded:
    """A curved network with random splits and duals, in float64."""

    network: Reduced
    margins: Rows
    duals: Duals


def bounded(seed: int) -> Bounded:
    made = case(seed, "linf")
    z, _ = run(made.network, made.points)
    splits = torch.where(torch.rand(2, z.shape[1]) < 0.4, z[0].sign(), 0.0).to(torch.int8)
    duals = Duals(splits, torch.rand(2, z.shape[1]).double(), torch.rand(z.shape[1]).double())
    return Bounded(curved(made.network), made.margins, duals)


@pytest.mark.parametrize("seed", range(4))
def test_a_bound_is_the_value_of_its_target_where_the_relaxation_attains_it(seed: int) -> None:
    made = bounded(seed)
    network, duals, splits = made.network, made.duals, made.duals.splits
    found = dual_bound(network, made.margins, duals)
    point = primal_point(network, found, duals)
    slope, at = network.upper / (network.upper - network.lower), network.envelope.at
    for row in range(2):
        z, r = network.neurons.at(point.x[row : row + 1], point.r[row : row + 1])[0], point.r[row]
        assert torch.allclose(z, point.z[row])
        above, share = slope * (z - network.lower), duals.values[row]
        bend = network.envelope.rows.at(point.x[row : row + 1], r[None])[0] - above[at]
        assert torch.allclose(bend, point.bend[row])
        above[at] += share[at] * bend
        relaxed = torch.where(found.on_relus[row] >= 0, share * z, above)
        expected = torch.where(splits[row] == 0, relaxed, torch.where(splits[row] > 0, z, 0.0))
        assert torch.allclose(r, expected)
        paid = (share * duals.scale * splits[row] * z).sum()
        value = made.margins[row : row + 1].at(point.x[row : row + 1], r[None])[0, 0]
        assert float(found.lower[row]) == pytest.approx(float(value - paid))


@pytest.mark.parametrize("seed", range(4))
def test_the_supergradient_is_what_a_small_change_of_each_dual_does_to_the_bound(seed: int) -> None:
    made = bounded(seed)
    network, duals = made.network, made.duals
    found = dual_bound(network, made.margins, duals)
    expected = supergradient(network, found, primal_point(network, found, duals), duals)
    for neuron in range(len(network)):
        moved = duals.values.clone()
        moved[:, neuron] += 1e-6
        change = dual_bound(network, made.margins, Duals(duals.splits, moved, duals.scale)).lower - found.lower
        assert torch.allclose(change / 1e-6, expected[:, neuron], atol=1e-5)
    assert bool((expected[:, network.envelope.at] != 0).any())


def test_an_envelope_keeps_its_values_when_neurons_are_substituted_away() -> None:
    made = case(1, "linf")
    z, r = run(made.network, made.points[:8])
    envelope = Envelope(torch.arange(len(made.network)), made.network.neurons, 1)  # any functions of what the neurons see
    network = replace(stable_at(made.network, z), envelope=envelope)
    settled = settle(network, made.margins, torch.zeros(len(network), dtype=torch.bool))
    kept = torch.isin(network.envelope.at, settled.left)
    assert bool(network.envelope.rows.on_relus[kept][:, network.lower == 0.0].any())  # some see a neuron that goes
    before = network.envelope.rows.at(made.points[:8].flatten(1), r)[:, kept]
    _, r = run(settled.network, made.points[:8])
    after = settled.network.envelope.rows.at(made.points[:8].flatten(1), r)
    assert torch.equal(settled.left[settled.network.envelope.at], network.envelope.at[kept])
    assert torch.allclose(after, before)


@pytest.mark.parametrize("norm", list(EPSILON))
def test_rounds_of_envelopes_raise_the_bound_of_a_margin_and_never_above_a_point_of_the_ball(norm: Norm) -> None:
    gained = []
    for seed in range(4):
        made = case(seed, norm)
        values = made.true_margins().amin(dim=0)
        margins = Rows(made.margins.on_input, made.margins.on_relus, made.margins.constant - values)
        for rival, target in enumerate((margins[:1], margins[1:])):
            for problem in root_problems(made.network, target, steps=30):
                better = enveloped(enveloped(tightened(enveloped(problem), 1, 10)))
                assert not better.closed
                gained.append(1 - better.lower / problem.lower)
                splits, shares = better.duals.splits, torch.rand(1, len(better.network))
                any_ = proved(better.network, better.target, Duals(splits, shares, better.duals.scale))
                assert float(any_) <= 1e-9, rival
    assert sum(gained) / len(gained) > (0.1 if norm == "linf" else 0.01)  # of the box; the ball is smaller


def straight(problem: Problem) -> Problem:
    """In place of `enveloped`: what triangles alone bound."""
    return problem


def test_a_calibration_image_takes_a_few_domains_with_envelopes_and_not_a_thousand_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, (x, y) = sdp_model("cifar_cnn_a_adv"), sdp_images("cifar")
    x, y = x[42:43], y[42:43]
    found = branch_and_bound(net, x, y, epsilon=2 / 255, seconds=600, domains=100)
    assert bool(found.certified.all())
    monkeypatch.setattr(bab, "enveloped", straight)
    assert bool(branch_and_bound(net, x, y, epsilon=2 / 255, seconds=600, domains=1000).abstained.all())
