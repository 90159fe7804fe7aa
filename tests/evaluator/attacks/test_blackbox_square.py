"""Square on models with known worst cases and on the calibration networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evaluator.attacks.square import Square
from evaluator.attacks.square_mass import _bump, l2_search
from evaluator.attacks.square_windows import linf_search
from evaluator.certify.ibp import ibp
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.models.meter import Meter, MeteredModel
from evaluator.threats import L1, L2, Linf, Threat
from tests.evaluator.blackbox import Constant, Curved, Linear, images
from tests.evaluator.support import network_and_images, subjects


def test_it_finds_the_worst_linf_corner_of_a_linear_model() -> None:
    weights = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    model, x = Linear(weights), images(20, 1, 4, 4)
    y = model(x).argmax(dim=1)
    distance = model.boundary_linf(x, y)
    inside, outside = Linf(0.1), Linf(0.1)
    fell = model(Square(queries=400)(model, x, y, inside)).argmax(dim=1) != y
    assert torch.equal(fell, distance < outside.epsilon)


def test_it_finds_what_brute_force_finds_on_a_two_dimensional_net() -> None:
    model, threat = Curved(2, seed=3), Linf(0.12)
    x = images(30, 2)
    y = model(x).argmax(dim=1)
    steps = torch.linspace(-0.12, 0.12, 61)
    grid = torch.cartesian_prod(steps, steps)
    truth = torch.stack(
        [(model((row + grid).clamp(0, 1)).argmax(dim=1) != label).any() for row, label in zip(x, y, strict=True)]
    )
    fell = model(Square(queries=50)(model, x, y, threat)).argmax(dim=1) != y
    assert not bool((fell & ~truth).any())
    assert int(fell.sum()) >= int(truth.sum()) - 1  # it searches corners only; one example may fall inside an edge


@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0)], ids=lambda threat: threat.kind)
def test_no_window_is_proposed_that_changes_nothing(threat: Threat) -> None:
    seen: list[torch.Tensor] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return torch.stack([torch.zeros(len(x)), -torch.full((len(x),), float(len(seen)))], dim=1)  # never improves

    Square(queries=60)(model, images(5, 1, 6, 6), torch.zeros(5, dtype=torch.long), threat)
    assert all(bool((later != seen[0]).flatten(1).any(dim=1).all()) for later in seen[1:])


def test_every_example_has_its_own_window() -> None:
    x = torch.full((8, 1, 20, 20), 0.5)
    search = linf_search(x, Linf(0.1))
    draws = Draws(0, torch.arange(8))
    points = search.first(draws)
    moved = search.propose(points, draws.uniform(search.numbers), 0.05) != points
    assert len({tuple(row.nonzero()[0].tolist()) for row in moved}) > 4


def test_windows_reach_every_pixel() -> None:
    x = torch.full((400, 1, 6, 6), 0.5)
    search, draws = linf_search(x, Linf(0.1)), Draws(0, torch.arange(400))
    points = search.first(draws)
    moved = search.propose(points, draws.uniform(search.numbers), 0.01) != points
    assert bool(moved.any(dim=0).all())


def test_the_l2_bump_has_norm_one_and_two_signs() -> None:
    bump = _bump(7, 7, 2, 2)
    assert bump.norm() == pytest.approx(1.0, abs=1e-6)
    assert bool((bump[:3] > 0).all())
    assert bool((bump[3:] < 0).all())


def test_the_l2_search_spends_the_whole_budget_where_the_box_allows() -> None:
    model, x = Constant(), torch.full((4, 3, 10, 10), 0.5)
    points = Square(queries=80)(model, x, torch.zeros(4, dtype=torch.long), L2(0.8))
    assert torch.allclose(L2(0.8).distance(x, points), torch.full((4,), 0.8).double(), atol=1e-4)


def test_the_l1_search_spends_the_whole_budget_where_the_box_allows() -> None:
    model, x = Constant(), torch.full((4, 3, 10, 10), 0.5)
    points = Square(queries=80)(model, x, torch.zeros(4, dtype=torch.long), L1(6.0))
    assert torch.allclose(L1(6.0).distance(x, points), torch.full((4,), 6.0).double(), atol=1e-4)


def test_under_l1_it_finds_the_pixel_that_decides_on_a_linear_model() -> None:
    weights = torch.zeros(2, 100)
    weights[1, 42] = 1.0  # 0.5 of it is missing, and no other pixel helps
    model, x = Linear(weights, torch.tensor([0.9, 0.0])), torch.full((6, 1, 10, 10), 0.5)
    points = Square(queries=1500)(model, x, torch.zeros(6, dtype=torch.long), L1(2.0))
    assert bool((model(points).argmax(dim=1) == 1).all())


def test_what_the_box_cut_off_goes_into_the_window_and_nowhere_else() -> None:
    """Algorithm 3 changes two windows of side 3; without the lost mass the rest would be stretched to fill the budget."""
    x, threat = torch.full((64, 1, 9, 9), 0.5), L2(0.6)
    search, draws = l2_search(x, threat), Draws(0, torch.arange(64))
    points = x + 0.02  # of norm 0.18: the rest of the budget was lost
    moved = search.propose(points, draws.uniform(search.numbers), 0.1)
    same = ((moved - points).abs() < 1e-4).flatten(1).sum(dim=1)
    assert int(same.min()) >= 81 - 2 * 9
    assert torch.allclose(threat.distance(x, moved), torch.full((64,), 0.6).double(), atol=1e-4)


VERIFIED = {
    "mnist_cnn_a_adv": (0.3, 76.0),
    "cifar_cnn_a_adv": (2 / 255, 48.5),
}  # epsilon, percent that complete verifiers prove


@subjects("mnist-ibp", *VERIFIED)
def test_it_never_goes_below_the_verified_robust_accuracy(subject: str) -> None:
    model, x, y = network_and_images(subject, 60 if subject == "mnist-ibp" else 200)
    epsilon, verified = VERIFIED.get(subject, (0.3, 0.0))
    if not verified:
        verified = 100 * float(ibp(model, x, y, epsilon=epsilon, norm="linf").certified.float().mean())
        assert verified > 50
    threat = Linf(epsilon)
    points = Square(queries=150)(model, x, y, threat)
    assert bool(threat.contains(x, points, slack=0).all())
    robust = 100 * float((model(points).argmax(dim=1) == y).float().mean())
    assert verified <= robust < 100 * float((model(x).argmax(dim=1) == y).float().mean())


@subjects("mnist-pgd", "mnist_cnn_a_adv")
def test_more_restarts_break_more(subject: str) -> None:
    model, x, y = network_and_images(subject, 40)
    standing = [int((model(Square(queries=40, restarts=r)(model, x, y, Linf(0.3))).argmax(dim=1) == y).sum()) for r in (1, 6)]
    assert standing[1] < standing[0]


def test_a_target_is_reached_where_any_other_class_would_not_do() -> None:
    weights = torch.eye(3)
    model, x = Linear(weights), torch.tensor([[0.6, 0.5, 0.45]])
    y, target = torch.tensor([0]), torch.tensor([2])
    points = Square(queries=40)(model, x, y, Linf(0.2), target=target)
    assert model(points).argmax(dim=1).tolist() == [2]


def test_hopeless_examples_leave_on_time_and_the_others_are_searched_as_ever() -> None:
    model, x, meter = Linear(torch.randn(2, 16, generator=torch.Generator().manual_seed(1))), images(30, 1, 4, 4), Meter()
    y = model(x).argmax(dim=1)
    whole = Square(queries=120)(model, x, y, Linf(0.02))
    short = Square(queries=120, hopeless=(40, 0.5))(MeteredModel(model, meter, classes=2), x, y, Linf(0.02))
    stayed = (model(short).diff(dim=1).abs() <= 0.5 * model(x).diff(dim=1).abs()).squeeze(1)
    fell = model(whole).argmax(dim=1) != y
    assert torch.equal(model(short).argmax(dim=1) != y, fell)
    assert torch.equal(short[stayed], whole[stayed])
    assert 0 < int(stayed.sum()) < len(x)
    spent = int((stayed & ~fell).sum()) * 120 + int((~stayed).sum()) * 40
    assert spent <= meter.forward_rows < spent + 120 * int(fell.sum()) + 1


@pytest.mark.parametrize(
    "options",
    [{"queries": 0}, {"restarts": 0}, {"p_init": 0.0}, {"p_init": 1.5}, {"hopeless": (0, 0.5)}, {"hopeless": (9, 0.0)}],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Square(**options)
