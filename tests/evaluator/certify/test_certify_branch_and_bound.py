"""Complete verification: every bound it stands on holds at points of the ball, its verdicts agree with MILP and attacks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import evaluator.certify.branch_and_bound as bab
from evaluator.attacks import PGD
from evaluator.certify.branch_and_bound import (
    Budget,
    OutOfBudgetError,
    Settings,
    branch_and_bound,
    close,
    root_problems,
    search,
)
from evaluator.certify.crown import crown, network_bounds
from evaluator.certify.dual import Duals, proved
from evaluator.certify.ibp import margin_rows
from evaluator.certify.inputs import InputSet, Norm
from evaluator.certify.milp import milp_verify
from evaluator.certify.problem import Problem
from evaluator.certify.reduced import Rows, reduce_network, settle
from evaluator.certify.tracing import trace
from evaluator.threats import Linf
from tests.evaluator.certify_cases import EPSILON, case, run, stable_at
from tests.evaluator.support import network_and_images, sdp_images, sdp_model, subjects


@pytest.mark.parametrize("norm", list(EPSILON))
def test_the_reduced_network_is_the_network_inside_the_ball(norm: Norm) -> None:
    made = case(0, norm)
    z, r = run(made.network, made.points)
    assert len(made.network) > 10
    assert torch.allclose(made.margins.at(made.points.flatten(1), r), made.true_margins(), atol=1e-9)
    assert bool(((z >= made.network.lower - 1e-9) & (z <= made.network.upper + 1e-9)).all())
    assert torch.allclose(
        made.network.neurons.from_input(made.points.flatten(1)), made.points.flatten(1) @ made.network.neurons.on_input.T
    )


def test_neurons_that_become_stable_are_substituted_without_a_change() -> None:
    made = case(1, "linf")
    z, _ = run(made.network, made.points[:3])
    network = stable_at(made.network, z)
    fixed = torch.zeros(len(network), dtype=torch.bool)
    fixed[::7] = True
    settled = settle(network, made.margins, fixed)
    after, r = run(settled.network, made.points[:3])
    assert fixed.sum() <= len(settled.network) < len(made.network)
    assert torch.allclose(after, z[:, settled.left], atol=1e-9)
    assert torch.allclose(settled.target.at(made.points[:3].flatten(1), r), made.true_margins()[:3], atol=1e-9)


@pytest.mark.parametrize("norm", list(EPSILON))
def test_any_duals_give_a_bound_that_holds_where_the_splits_do(norm: Norm) -> None:
    made = case(2, norm)
    z, r = run(made.network, made.points)
    values, checked = made.margins.at(made.points.flatten(1), r), 0
    for at in range(20):
        splits = torch.where(torch.rand(2, z.shape[1]) < 0.1, z[at].sign(), 0.0).to(torch.int8)
        lower = proved(made.network, made.margins, Duals(splits, torch.rand(2, z.shape[1]), torch.rand(z.shape[1])))
        for rival in range(2):
            inside = (splits[rival] * z >= 0).all(dim=1)
            assert bool((values[inside, rival] >= lower[rival]).all())
            checked += int(inside.sum())
    assert checked > 100


def dense(seed: int, *widths: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def without_splitting(problem: Problem, settings: Settings, budget: Budget, limit: int) -> bool:
    """A search that proves nothing: what is left to better bounds alone."""
    raise OutOfBudgetError


@dataclass(frozen=True, eq=False)
class Plane:
    """A margin over a net of two inputs, moved a little below or above 0 as brute force sees it."""

    problem: Problem
    safe: bool


def planes() -> Iterator[Plane]:
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for seed in range(6):
        net, x = dense(seed, 2, 12, 12, 2), 0.3 + 0.4 * torch.rand(1, 2, dtype=torch.float64)
        graph, inputs = trace(net, (2,)), InputSet(x, 0.3, "linf")
        rows = margin_rows(graph.forward(x)[-1].argmax(dim=1), 2, torch.float64)
        network, margins = reduce_network(graph, network_bounds(graph, inputs).relus, inputs, rows)
        values = graph.forward(x + 0.3 * torch.cartesian_prod(axis, axis))[-1] @ rows[0, 0]
        room = 0.05 * float(values.max() - values.min())
        for offset, safe in ((values.min() - room, True), (values.min() + room, False)):
            target = Rows(margins.on_input, margins.on_relus, margins.constant - offset)
            yield from (Plane(problem, safe) for problem in root_problems(network, target, steps=5))


def test_a_search_decides_margins_a_little_above_and_a_little_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    visited, settings = 0, Settings(steps=40, batch=8)
    for plane in planes():
        budget = Budget(deadline=float("inf"), most=None)
        assert search(plane.problem, settings, budget, limit=4000) is plane.safe
        visited += budget.domains
    assert visited > 50
    monkeypatch.setattr(bab, "proved", lambda network, target, duals: torch.full((len(duals),), -1.0))
    for plane in planes():  # what float32 finds and float64 does not bear out is open
        assert not search(plane.problem, settings, Budget(deadline=float("inf"), most=None), limit=100)


def test_problems_split_in_halves_are_closed_where_both_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bab, "DOMAINS", (1, 1))
    monkeypatch.setattr(bab, "until_it_stalls", lambda problem, step, budget: problem)
    split, settings = 0, Settings(steps=40, batch=8)
    for plane in planes():
        budget = Budget(deadline=float("inf"), most=300)
        with nullcontext() if plane.safe else pytest.raises(OutOfBudgetError):
            close(plane.problem, settings, budget, lambda points: False)
        split += budget.domains
    assert split > 50


def test_branch_and_bound_agrees_with_milp() -> None:
    kinds = set()
    for seed in range(4):
        net, x = dense(seed, 6, 24, 24, 3), torch.rand(3, 6)
        y = net(x).argmax(dim=1)
        for epsilon in (0.1, 0.2, 0.3):
            exact = milp_verify(net, x, y, epsilon=epsilon)
            found = branch_and_bound(net, x, y, epsilon=epsilon, domains=4000)
            assert torch.equal(found.certified, exact.certified)
            assert not found.abstained.any()
            kinds |= set(found.certified.tolist())
    assert kinds == {True, False}


def test_a_network_without_hidden_layers_or_unstable_neurons_is_decided_at_once() -> None:
    net, x = dense(0, 4, 3), torch.rand(4, 4)
    y = net(x).argmax(dim=1)
    for epsilon in (1e-3, 0.9):
        found = branch_and_bound(net, x, y, epsilon=epsilon)
        assert torch.equal(found.certified, milp_verify(net, x, y, epsilon=epsilon).certified)
        assert not found.abstained.any()


def test_what_slopes_leave_open_is_certified_by_splitting_and_not_without(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = dense(1, 6, 24, 24, 3), torch.rand(6, 6)
    y = net(x).argmax(dim=1)
    left = ~crown(net, x, y, epsilon=0.3, norm="linf", iterations=20).certified
    x, y = x[left], y[left]
    assert len(x) >= 3
    assert torch.equal(milp_verify(net, x, y, epsilon=0.3).certified, torch.ones(len(x), dtype=torch.bool))
    monkeypatch.setattr(bab, "until_it_stalls", lambda problem, step, budget: problem)  # tightening would do alone here
    found = branch_and_bound(net, x, y, epsilon=0.3, domains=1000)
    assert bool(found.certified.all())
    assert min(found.details["domains"]) > 0
    monkeypatch.setattr(bab, "search", without_splitting)
    assert bool(branch_and_bound(net, x, y, epsilon=0.3).abstained.all())


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "images", "epsilon", "chosen"), [
    ("cifar_cnn_a_adv", "cifar", 2 / 255, (11,)), ("mnist_cnn_a_adv", "mnist", 0.3, (3, 9)),
])  # fmt: skip
def test_images_out_of_reach_of_optimised_slopes_are_certified_within_a_thousand_domains(
    name: str, images: str, epsilon: float, chosen: tuple[int, ...]
) -> None:
    net, (x, y) = sdp_model(name), sdp_images(images)
    x, y = x[list(chosen)], y[list(chosen)]
    assert not crown(net, x, y, epsilon=epsilon, norm="linf", iterations=20).certified.any()
    found = branch_and_bound(net, x, y, epsilon=epsilon, seconds=600, domains=1000)
    assert bool(found.certified.all())
    points = PGD(steps=30, loss="margin")(net, x, y, Linf(epsilon))
    assert torch.equal(net(points).argmax(dim=1), y)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "images", "epsilon", "image", "tightening"), [
    ("mnist_cnn_a_adv", "mnist", 0.3, 23, True),
    ("cifar_cnn_a_mix", "cifar", 2 / 255, 18, True),
    ("cifar_cnn_a_adv", "cifar", 2 / 255, 95, False),  # tightening alone proves what a few domains prove there
])  # fmt: skip
def test_a_calibration_image_that_slopes_leave_open_is_certified_by_splitting_and_not_without(
    name: str, images: str, epsilon: float, image: int, tightening: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (x, y) = sdp_model(name), sdp_images(images)
    x, y = x[image : image + 1], y[image : image + 1]
    if not tightening:
        monkeypatch.setattr(bab, "until_it_stalls", lambda problem, step, budget: problem)
    assert not crown(net, x, y, epsilon=epsilon, norm="linf", iterations=20).certified.any()
    found = branch_and_bound(net, x, y, epsilon=epsilon, seconds=600, domains=1000)
    assert bool(found.certified.all())
    assert found.details["domains"][0] > 0
    monkeypatch.setattr(bab, "search", without_splitting)
    assert branch_and_bound(net, x, y, epsilon=epsilon, seconds=600).abstained.all()


BROKEN_AT = {"mnist-pgd": 0.4, "cifar_cnn_a_adv": 2 / 255, "mnist_cnn_a_adv": 0.3}  # epsilon at which some images fall


@subjects(*BROKEN_AT)
def test_no_image_that_an_attack_breaks_is_certified(subject: str) -> None:
    (net, x, y), epsilon = network_and_images(subject), BROKEN_AT[subject]
    right = (net(x).argmax(dim=1) == y).nonzero().squeeze(1)[:40]
    points = PGD(steps=30, loss="margin")(net, x[right], y[right], Linf(epsilon))
    count = 1 if subject == "mnist-pgd" else 3  # a larger network
    broken = right[net(points).argmax(dim=1) != y[right]][:count]
    assert len(broken) == count
    assert not branch_and_bound(net, x[broken], y[broken], epsilon=epsilon, seconds=4, domains=50).certified.any()


def test_a_budget_of_domains_is_kept_and_an_open_example_abstains() -> None:
    net, x = dense(1, 3, 32, 32, 2), torch.rand(4, 3)
    y = net(x).argmax(dim=1)
    found = branch_and_bound(net, x, y, epsilon=0.3, domains=4, batch=1)
    assert max(found.details["domains"]) == 4
    assert bool(found.abstained[0])
    assert not bool((found.certified & found.abstained).any())
