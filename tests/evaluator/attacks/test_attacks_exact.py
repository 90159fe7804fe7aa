"""Attacks against closed forms: linear models in every norm, two dimensions by brute force, and projections by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor, nn

from evaluator.attacks.norms import NORMS
from evaluator.attacks.pdpgd import proximal
from evaluator.attacks.registry import create
from evaluator.attacks.relaxed_network import Relaxed
from evaluator.attacks.trust_region import step_within
from evaluator.errors import InputError
from evaluator.threats import L1, L2, Linf, Threat
from tests.evaluator.attack_support import RowWise, images, net


def linear(classes: int = 3, features: int = 12, seed: int = 0) -> nn.Sequential:
    """A linear classifier whose classes meet at the centre of the box, so that small moves inside it decide."""
    generator = torch.Generator().manual_seed(seed)
    layer = RowWise(features, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, features, generator=generator))
        layer.bias.copy_(-layer.weight @ torch.full((features,), 0.5))
    return nn.Sequential(nn.Flatten(), layer).requires_grad_(False)


def near_centre(count: int, features: int = 12, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.3 * (torch.rand(count, features, generator=generator) - 0.5)


def boundary_distance(model: nn.Sequential, x: Tensor, y: Tensor, kind: str) -> Tensor:
    """(n,) min over classes k of (Z_y - Z_k) / ||w_y - w_k||_q, q the dual exponent."""
    weight, logits = model[1].weight, model(x)  # type: ignore[union-attr]
    order = {"linf": 1.0, "l2": 2.0, "l1": float("inf")}[kind]
    gaps = logits.gather(1, y[:, None]) - logits
    norms = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=order, dim=2)  # type: ignore[index]
    return torch.where(norms > 0, gaps / norms.clamp_min(1e-12), torch.inf).amin(dim=1)


BALLS: dict[str, type[Linf | L2 | L1]] = {"linf": Linf, "l2": L2, "l1": L1}


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
def test_fgsm_takes_the_closed_form_step_on_a_two_class_linear_model(kind: str, targeted: bool) -> None:
    model, x = linear(classes=2), near_centre(8)
    y = model(x).argmax(dim=1)
    threat: Threat = BALLS[kind](0.02)
    moved = create("fgsm")(model, x, y, threat, target=1 - y if targeted else None)
    w = model[1].weight[1 - y] - model[1].weight[y]  # type: ignore[index, union-attr]
    expected = {
        "linf": 0.02 * w.sign(),
        "l2": 0.02 * w / torch.linalg.vector_norm(w, dim=1, keepdim=True),
        "l1": 0.02 * w.sign() * (w.abs() == w.abs().amax(dim=1, keepdim=True)),
    }[kind]
    torch.testing.assert_close(moved, x + expected, rtol=0, atol=2e-6)


EXACT: list[tuple[str, dict[str, object], int]] = [
    ("pgd", {}, 2),
    ("apgd", {}, 2),
    ("apgd", {"loss": "dlr"}, 2),
    ("apgd", {"loss": "pm"}, 2),
    ("apgd_t", {"targets": 2, "loss": "margin"}, 3),
    ("multi_targeted", {}, 3),
]


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("name", "options", "classes"), EXACT)
def test_a_linear_model_falls_exactly_when_the_budget_exceeds_the_distance(
    name: str, options: dict[str, object], classes: int, kind: str
) -> None:
    model, x = linear(classes), near_centre(6)
    y = model(x).argmax(dim=1)
    attack, distance = create(name, **options), boundary_distance(model, x, y, kind)
    for row in range(len(x)):
        part, label = x[row : row + 1], y[row : row + 1]
        for factor in (0.98, 1.02):
            threat = BALLS[kind](factor * float(distance[row]))
            fell = model(attack(model, part, label, threat)).argmax(dim=1) != label
            assert bool(fell) == (factor > 1), (row, factor)


CLOSEST: list[tuple[str, dict[str, object], str, int, float]] = [
    ("deepfool", {}, "l2", 3, 0.021),
    ("deepfool", {}, "linf", 3, 0.021),
    ("fab", {}, "linf", 3, 0.007),
    ("fab", {}, "l2", 3, 0.007),
    ("fab", {}, "l1", 3, 0.007),
    ("fab_t", {}, "linf", 3, 0.007),
    ("fab_t", {}, "l2", 3, 0.007),
    ("fab_t", {}, "l1", 3, 0.007),
    # the margin follows the class that leads, which need not be the nearest: two classes
    ("fmn", {}, "linf", 2, 0.001),
    ("fmn", {}, "l2", 2, 0.001),
    ("fmn", {}, "l1", 2, 0.001),
    ("pdpgd", {}, "linf", 2, 0.01),
    ("pdpgd", {}, "l2", 2, 0.05),
    ("pdpgd", {}, "l1", 2, 0.1),
    ("brendel_bethge", {}, "linf", 2, 0.002),
    ("brendel_bethge", {}, "l2", 2, 0.02),
    ("brendel_bethge", {}, "l1", 2, 0.002),
    ("cw_l2", {"rate": 0.002}, "l2", 2, 0.02),
    ("cw_linf", {"rate": 0.001, "steps": 300}, "linf", 2, 0.12),  # tau falls by tenths
]


@pytest.mark.parametrize(("name", "options", "kind", "classes", "tolerance"), CLOSEST)
def test_a_minimal_norm_attack_finds_the_distance_to_a_linear_boundary(
    name: str, options: dict[str, object], kind: str, classes: int, tolerance: float
) -> None:
    model, x = linear(classes), near_centre(12)
    y = model(x).argmax(dim=1)
    points = create(name, **options)(model, x, y, BALLS[kind](0.01))
    found = NORMS[kind].size(points - x)
    exact = boundary_distance(model, x, y, kind)
    assert bool((model(points).argmax(dim=1) != y).all())
    assert bool((found >= exact * (1 - 1e-3)).all())
    assert bool((found <= exact * (1 + tolerance) + 1.1e-4).all()), (found / exact).tolist()


class Ring(nn.Module):
    """Class 1 inside the disc of radius 0.2 around (0.5, 0.5), class 0 outside."""

    def forward(self, x: Tensor) -> Tensor:
        inside = 0.2**2 - (x - 0.5).square().sum(dim=1)
        return torch.stack([torch.zeros_like(inside), 20 * inside], dim=1)


@pytest.mark.parametrize(("name", "kind"), [("fab", "l2"), ("fmn", "l2"), ("cw_l2", "l2"), ("fab", "linf"), ("fmn", "linf")])
def test_in_two_dimensions_a_minimal_norm_attack_is_as_close_as_brute_force(name: str, kind: str) -> None:
    model, x = Ring(), torch.tensor([[0.52, 0.56], [0.45, 0.4], [0.8, 0.7], [0.15, 0.5]])
    y = model(x).argmax(dim=1)
    steps = torch.linspace(0, 1, 801)
    grid = torch.cartesian_prod(steps, steps)
    labels = model(grid).argmax(dim=1)
    points = create(name)(model, x, y, BALLS[kind](0.01))
    for row in range(len(x)):
        nearest = NORMS[kind].size(grid[labels != y[row]] - x[row]).min()
        found = NORMS[kind].size(points[row : row + 1] - x[row])
        assert float(found) <= float(nearest) * 1.03 + 2e-3


@pytest.mark.parametrize("name", ["pgd", "apgd", "odi", "multi_targeted", "pcros", "quantized_gradient", "daa", "guided_local"])
def test_in_two_dimensions_an_attack_falls_short_of_no_corner_of_the_square(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = RowWise(2, 8), RowWise(8, 3)
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.copy_(3 * torch.randn(layer.weight.shape, generator=generator))
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
    model = nn.Sequential(first, nn.Tanh(), second).requires_grad_(False)
    x, threat = torch.rand(12, 2, generator=generator), Linf(0.08)
    y = model(x).argmax(dim=1)
    options = {"restarts": 3}
    fell = model(create(name, **options)(model, x, y, threat)).argmax(dim=1) != y
    steps = torch.linspace(-0.0795, 0.0795, 81)
    square = torch.cartesian_prod(steps, steps)
    possible = torch.stack(
        [(model((row + square).clamp(0, 1)).argmax(dim=1) != label).any() for row, label in zip(x, y, strict=True)]
    )
    assert 0 < int(possible.sum()) < 12
    assert bool((fell >= possible).all())


@pytest.mark.parametrize("kind", ["linf", "l1", "l2"])
def test_the_move_to_a_hyperplane_inside_the_box_is_the_smallest_by_scipy(kind: str) -> None:
    generator = torch.Generator().manual_seed(5)
    z, normal = torch.rand(6, 7, generator=generator), torch.randn(6, 7, generator=generator)
    gap = torch.tensor([0.3, -0.3, 1.0, -1.0, 0.05, 0.7])
    moves = NORMS[kind].to_hyperplane(z, normal, gap)
    assert bool(((z + moves >= -1e-6) & (z + moves <= 1 + 1e-6)).all())
    for row in range(6):
        w, point = normal[row].double().numpy(), z[row].double().numpy()
        torch.testing.assert_close((normal[row] * moves[row]).sum(), gap[row], rtol=0, atol=1e-4)
        assert float(NORMS[kind].size(moves[row : row + 1])) <= _smallest(kind, point, w, float(gap[row])) + 1e-4


@pytest.mark.parametrize("kind", ["linf", "l1", "l2"])
def test_the_step_along_the_boundary_is_on_its_plane_in_its_region_and_nearer_than_a_hundred_others(kind: str) -> None:
    generator = torch.Generator().manual_seed(5)
    x, z = torch.rand(6, 7, generator=generator), torch.rand(6, 7, generator=generator)
    normal, radius = torch.randn(6, 7, generator=generator), torch.full((6,), 0.3)
    gap = 0.1 * radius * normal.norm(dim=1)
    move = step_within(kind, x - z, z, normal, gap, radius)
    assert bool(((z + move >= -1e-6) & (z + move <= 1 + 1e-6)).all())
    assert bool((move.norm(dim=1) <= radius + 1e-6).all())
    torch.testing.assert_close((normal * move).sum(dim=1), gap, rtol=0.02, atol=2e-3)
    for _ in range(100):
        other = move + 0.1 * torch.randn(6, 7, generator=generator)
        other = other - ((other - move) * normal).sum(dim=1, keepdim=True) * normal / normal.square().sum(dim=1, keepdim=True)
        allowed = (other.norm(dim=1) <= radius) & ((z + other >= 0) & (z + other <= 1)).all(dim=1)
        nearer = NORMS[kind].size(x - z - other) < NORMS[kind].size(x - z - move) - 0.01
        assert not bool((allowed & nearer).any())


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
def test_a_proximal_step_is_no_worse_than_any_point_near_it(kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    delta, radius = torch.randn(5, 6, generator=generator), torch.full((5,), 0.4)

    def worth(r: Tensor) -> Tensor:
        return (r - delta).square().sum(dim=1) / 2 + radius * NORMS[kind].size(r)

    found = proximal(kind, delta, radius)
    for size in (0.01, 0.1, 1.0):
        for _ in range(100):
            noise = size * torch.randn(5, 6, generator=generator) * (torch.rand(5, 6, generator=generator) < 0.5)
            assert bool((worth(found) <= worth(found + noise) + 1e-5).all())


def _smallest(kind: str, z: np.ndarray, w: np.ndarray, gap: float) -> float:
    """The least norm of a move on the hyperplane inside the box, by linear or quadratic programming."""
    d = len(z)
    if kind == "l2":
        constraint = {"type": "eq", "fun": lambda r: r @ w - gap}
        best = minimize(lambda r: r @ r, np.zeros(d), bounds=list(zip(-z, 1 - z, strict=True)), constraints=[constraint])
        return float(np.sqrt(best.fun))
    split = np.concatenate([w, -w])
    if kind == "l1":
        bounds = [(0, 1 - v) for v in z] + [(0, v) for v in z]
        return float(linprog(np.ones(2 * d), A_eq=split[None], b_eq=[gap], bounds=bounds).fun)
    cost = np.append(np.zeros(d), 1.0)
    below = np.block([[np.eye(d), -np.ones((d, 1))], [-np.eye(d), -np.ones((d, 1))]])
    bounds = [(-v, 1 - v) for v in z] + [(0, None)]
    return float(linprog(cost, A_ub=below, b_ub=np.zeros(2 * d), A_eq=[np.append(w, 0)], b_eq=[gap], bounds=bounds).fun)


def test_the_interval_attack_names_the_layer_it_cannot_read() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    with pytest.raises(InputError, match="Tanh"):
        create("interval")(network, torch.rand(1, 4), torch.tensor([0]), Linf(0.1))


def test_the_interval_bounds_hold_for_every_input_of_the_box() -> None:
    network, x = net(), images(3)
    y = network(x).argmax(dim=1)
    relaxed = Relaxed(network).relax((x - 0.05).clamp(0, 1), (x + 0.05).clamp(0, 1), y)
    for _ in range(200):
        logits = network((x + 0.1 * (torch.rand_like(x) - 0.5)).clamp(0, 1))
        assert bool((logits - logits.gather(1, y[:, None]) <= relaxed.upper + 1e-4).all())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pgd", {"steps": 0}),
        ("apgd", {"loss": "cee"}),
        ("fmn", {"gamma": 0}),
        ("jsma", {"gamma": 2}),
        ("daa", {"particles": 1}),
    ],
)
def test_an_impossible_option_is_refused_before_any_compute(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        create(name, **options)


def test_an_attack_refuses_a_threat_it_cannot_do_and_says_which_it_can() -> None:
    with pytest.raises(InputError, match="linf"):
        create("daa")(linear(), near_centre(1), torch.tensor([0]), L2(0.5))
