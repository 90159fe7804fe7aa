"""Decision-based attacks against exact boundary distances."""

from __future__ import annotations

import pytest
import torch

from evaluator.attacks.base import Attack, Batch
from evaluator.attacks.boundary import Boundary
from evaluator.attacks.decision import Search, boundary_steps
from evaluator.attacks.geoda import GeoDA
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.opt_attack import OptAttack
from evaluator.attacks.queries import Queries
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.models.access import LabelOracle
from evaluator.threats import L2, Linf, Threat
from tests.evaluator.blackbox import Constant, Counted, Curved, Linear, images
from tests.evaluator.support import network_and_images, subjects


def linear() -> tuple[Linear, torch.Tensor, torch.Tensor]:
    """Three classes on 6x6 images, with examples whose nearest boundary point lies inside the box."""
    model = Linear(torch.randn(3, 36, generator=torch.Generator().manual_seed(1)))
    x = images(6, 1, 6, 6)
    return model, x, model(x).argmax(dim=1)


@pytest.mark.parametrize(("attack", "threat", "tolerance"), [
    (Boundary(queries=2000), L2(1.0), 1.01),
    (HopSkipJump(queries=2000), L2(1.0), 1.05),
    (OptAttack(queries=2000), L2(1.0), 1.01),
    (GeoDA(queries=2000), L2(1.0), 1.05),
    (GeoDA(queries=4000), Linf(1.0), 1.4),
    (OptAttack(queries=2000, estimator="rgf", samples=20), L2(1.0), 1.1),
    (HopSkipJump(queries=4000), Linf(1.0), 1.4),  # in Linf one uncertain coordinate of the normal costs its whole share
    (OptAttack(queries=4000), Linf(1.0), 1.5),
], ids=str)  # fmt: skip
def test_on_a_linear_model_the_distance_approaches_the_exact_one(attack: Attack, threat: Threat, tolerance: float) -> None:
    model, x, y = linear()
    exact = model.boundary_l2(x, y) if threat.kind == "l2" else model.boundary_linf(x, y)
    counted = Counted(LabelOracle(model))
    points = attack(counted, x, y, threat)
    ratio = threat.distance(x, points) / exact
    assert bool((model(points).argmax(dim=1) != y).all())
    assert counted.rows <= 6 * attack.queries  # type: ignore[attr-defined]
    assert bool((ratio > 1 - 1e-5).all())  # nothing adversarial is closer than the boundary
    assert float(ratio.mean()) < tolerance


@pytest.mark.parametrize(
    "attack", [Boundary(queries=1000), HopSkipJump(queries=1000), OptAttack(queries=1000), GeoDA(queries=1000)], ids=str
)
def test_on_a_two_dimensional_net_the_distance_is_near_that_of_brute_force(attack: Attack) -> None:
    model, x = Curved(2, seed=3), images(8, 2)
    y = model(x).argmax(dim=1)
    side = torch.linspace(0, 1, 401)
    grid = torch.cartesian_prod(side, side)
    labels = model(grid).argmax(dim=1)
    nearest = torch.stack([(grid[labels != label] - row).norm(dim=1).min() for row, label in zip(x, y, strict=True)])
    distance = L2(1.0).distance(x, attack(model, x, y, L2(1.0)))
    assert bool((distance > nearest - 0.004).all())  # the grid's own error
    assert float((distance / nearest).median()) < 1.05
    assert float((distance < 1.2 * nearest).float().mean()) >= 0.75  # a walk may follow another piece of the boundary


@pytest.mark.parametrize(
    "attack", [Boundary(queries=300), HopSkipJump(queries=300), OptAttack(queries=300), GeoDA(queries=300)], ids=str
)
@subjects("mnist-standard", "mnist_cnn_a_adv")
def test_more_queries_come_closer_on_a_real_network(attack: Attack, subject: str) -> None:
    model, x, y = network_and_images(subject, 6)
    more = type(attack)(queries=1500)  # type: ignore[call-arg]
    few, many = (L2(1.0).distance(x, a(model, x, y, L2(1.0))) for a in (attack, more))
    assert float(many.mean()) < 0.8 * float(few.mean())


@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump(), OptAttack(), GeoDA()], ids=str)
def test_an_input_that_is_wrong_already_costs_one_label_and_stays_as_it_is(attack: Attack) -> None:
    model, x, y = linear()
    counted = Counted(model)
    points = attack(counted, x, (y + 1) % 3, L2(1.0))
    assert torch.equal(points, x)
    assert counted.rows == len(x)


@pytest.mark.parametrize("attack", [Boundary(trials=7), HopSkipJump(trials=7), OptAttack(trials=7), GeoDA(trials=7)], ids=str)
def test_without_a_first_adversarial_point_the_clean_one_is_returned(attack: Attack) -> None:
    counted, x = Counted(Constant()), images(3, 1, 6, 6)
    assert torch.equal(attack(counted, x, torch.zeros(3, dtype=torch.long), L2(1.0)), x)
    assert counted.rows == 3 * (1 + 7)


@pytest.mark.parametrize("kind", ["l2", "linf"])
def test_halving_ends_on_the_adversarial_side_within_its_resolution(kind: str) -> None:
    model, x, y = linear()
    threat = L2(1.0) if kind == "l2" else Linf(1.0)
    search = Search(Queries(model, Batch(x, y, Draws(0, torch.arange(6))), threat, 1000))
    rows = search.first_points(50)
    far = search.closest[rows].clone()
    points = search.to_boundary(rows, far, steps=12)
    assert bool((model(points).argmax(dim=1) != y[rows]).all())
    distance, length = threat.distance(x[rows], points), threat.distance(x[rows], far)
    move = far - x[rows]
    inner = (distance - 2.0**-11 * length).float().reshape(-1, 1, 1, 1)
    shorter = x[rows] + (move * inner / length.float().reshape(-1, 1, 1, 1) if kind == "l2" else move.clamp(-inner, inner))
    assert bool((model(shorter).argmax(dim=1) == y[rows]).all())


def test_an_account_refuses_what_it_cannot_pay() -> None:
    model, x, y = linear()
    counted = Counted(model)
    queries = Queries(counted, Batch(x, y, Draws(0, torch.arange(6))), L2(1.0), 2)
    queries.success(torch.tensor([1, 1]), x[[1, 1]])
    with pytest.raises(RuntimeError, match="more queries"):
        queries.success(torch.tensor([0, 1]), x[:2])
    assert counted.rows == 2
    assert queries.left.tolist() == [2, 0, 2, 2, 2, 2]


def test_the_resolution_follows_the_dimension() -> None:
    assert boundary_steps(L2(1.0), 3072) == 17
    assert boundary_steps(L2(1.0), 2) == 10
    assert boundary_steps(Linf(1.0), 150_528) == 24


@pytest.mark.parametrize("build", [
    lambda: Boundary(queries=0), lambda: Boundary(source_step=0), lambda: HopSkipJump(samples=0), lambda: GeoDA(frequencies=2),
    lambda: OptAttack(smoothing=0), lambda: OptAttack(estimator="signs"),  # type: ignore[arg-type]
])  # fmt: skip
def test_impossible_options_are_refused(build: object) -> None:
    with pytest.raises(InputError):
        build()  # type: ignore[operator]


@pytest.mark.parametrize("attack", [Boundary(), HopSkipJump(), OptAttack(), GeoDA()], ids=str)
def test_targets_and_other_norms_are_refused_before_any_query(attack: Attack) -> None:
    model, x, y = linear()
    counted = Counted(model)
    with pytest.raises(InputError, match="targeted"):
        attack(counted, x, y, L2(1.0), target=(y + 1) % 3)
    if isinstance(attack, Boundary):
        with pytest.raises(InputError, match="linf"):
            attack(counted, x, y, Linf(0.1))
    assert counted.rows == 0
