"""Projections are the nearest points: against scipy.optimize, enumeration and bisection on small cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from evaluator.threats import L0, L1, L2, Color, Linf, RotationTranslation, Spatial, Union
from tests.evaluator.threat_support import Case, cases, images

few = settings(max_examples=40)
small = cases(shapes=((4,), (1, 2, 3)))


def apart(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """(n,) Euclidean distances in float64."""
    return (a.double() - b.double()).flatten(1).norm(dim=1).numpy()


def best_in_l2(x: np.ndarray, z: np.ndarray, epsilon: float) -> float:
    """The distance from z to L2 ball and box by SLSQP from several starts."""

    def run(start: np.ndarray) -> float:
        found = minimize(
            lambda p: np.sum((p - z) ** 2),
            start,
            jac=lambda p: 2 * (p - z),
            bounds=[(0, 1)] * len(x),
            constraints={
                "type": "ineq",
                "fun": lambda p: epsilon**2 - np.sum((p - x) ** 2),
                "jac": lambda p: -2 * (p - x),
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return float(np.linalg.norm(found.x - z)) if np.linalg.norm(found.x - x) <= epsilon + 1e-8 else np.inf

    return min(run(x), run(np.clip(x + 0.3 * epsilon * np.sign(z - x), 0, 1)))


def best_in_l1(x: np.ndarray, z: np.ndarray, epsilon: float) -> float:
    """The distance from z to L1 ball and box by SLSQP in the split p = x + u - v with u, v >= 0 and sum(u + v) <= epsilon."""
    d = len(x)

    def point(w: np.ndarray) -> np.ndarray:
        return x + w[:d] - w[d:]

    found = minimize(
        lambda w: np.sum((point(w) - z) ** 2),
        np.zeros(2 * d),
        jac=lambda w: 2 * np.concatenate([point(w) - z, z - point(w)]),
        bounds=[(0, high) for high in np.concatenate([1 - x, x])],
        constraints={"type": "ineq", "fun": lambda w: epsilon - w.sum(), "jac": lambda w: -np.ones(2 * d)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(np.linalg.norm(point(found.x) - z)) if found.x.sum() <= epsilon + 1e-8 else np.inf


@few
@given(seed=st.integers(0, 2**32 - 1), epsilon=st.floats(0.01, 1.5), scale=st.floats(0.05, 3))
@pytest.mark.parametrize(("kind", "best"), [(L2, best_in_l2), (L1, best_in_l1)], ids=["l2", "l1"])
def test_no_point_that_scipy_finds_is_nearer(kind: type[L2 | L1], best, seed: int, epsilon: float, scale: float) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(seed)
    x = images(generator, 1, (5,))
    z = x + torch.randn(1, 5, generator=generator) * scale
    ours = apart(kind(epsilon).project(x, z), z)[0]
    theirs = best(x[0].double().numpy(), z[0].double().numpy(), epsilon)
    assume(theirs < np.inf)  # SLSQP may end outside
    assert ours <= theirs + 1e-6 * (1 + theirs)


def l2_by_bisection(x: np.ndarray, z: np.ndarray, epsilon: float) -> np.ndarray:
    """clip(x + s (z - x)) with the multiplier s found by scipy's root finder."""

    def at(s: float) -> np.ndarray:
        return np.clip(x + s * (z - x), 0, 1)

    def excess(s: float) -> float:
        return float(np.linalg.norm(at(s) - x)) - epsilon

    return at(1.0) if excess(1.0) <= 0 else at(brentq(excess, 0, 1, xtol=1e-300, rtol=1e-14))


def l1_by_bisection(x: np.ndarray, z: np.ndarray, epsilon: float) -> np.ndarray:
    """clip(x + soft threshold of z - x at t) with the multiplier t found by scipy's root finder."""

    def at(t: float) -> np.ndarray:
        return np.clip(x + np.sign(z - x) * np.maximum(np.abs(z - x) - t, 0), 0, 1)

    def excess(t: float) -> float:
        return float(np.abs(at(t) - x).sum()) - epsilon

    return at(0.0) if excess(0.0) <= 0 else at(brentq(excess, 0, np.abs(z - x).max(), xtol=1e-300, rtol=1e-15))


@few
@given(case=cases(shapes=((3, 20, 20),)), epsilon=st.floats(0.01, 20))
def test_l2_and_l1_projections_satisfy_their_optimality_conditions_in_many_dimensions(case: Case, epsilon: float) -> None:
    for row in range(len(case.x)):
        image, point = case.x[row : row + 1], case.z[row : row + 1]
        x, z = image.double().flatten().numpy(), point.double().flatten().numpy()
        np.testing.assert_allclose(
            L2(epsilon).project(image, point).flatten(), l2_by_bisection(x, z, epsilon), atol=2e-6, rtol=2e-6
        )
        np.testing.assert_allclose(
            L1(epsilon).project(image, point).flatten(), l1_by_bisection(x, z, epsilon), atol=2e-6, rtol=2e-6
        )


@few
@given(case=small, epsilon=st.floats(1e-3, 1))
def test_linf_projects_each_coordinate_to_its_interval(case: Case, epsilon: float) -> None:
    x, z = case.x.double().numpy(), case.z.double().numpy()
    expected = np.clip(z, np.maximum(x - epsilon, 0), np.minimum(x + epsilon, 1))
    np.testing.assert_allclose(Linf(epsilon).project(case.x, case.z).numpy(), expected, atol=1e-7)


@few
@given(case=cases(shapes=((5,), (2, 2, 3))), pixels=st.integers(1, 4))
def test_l0_matches_the_best_of_all_subsets_of_pixels(case: Case, pixels: int) -> None:
    x, z = case.x.double(), case.z.double()
    ours = apart(L0(pixels).project(case.x, case.z), case.z)
    columns = x[:, None] if x.dim() == 2 else x.flatten(2)
    wanted = z[:, None] if z.dim() == 2 else z.flatten(2)
    best = np.full(len(x), np.inf)
    for subset in itertools.combinations(range(columns.shape[2]), min(pixels, columns.shape[2])):
        candidate = columns.clone()
        candidate[:, :, list(subset)] = wanted[:, :, list(subset)].clamp(0, 1)
        best = np.minimum(best, apart(candidate, wanted))
    np.testing.assert_allclose(ours, best, rtol=1e-9, atol=1e-12)


@few
@given(case=small)
def test_a_union_projects_to_the_nearest_of_its_members(case: Case) -> None:
    members = (Linf(0.1), L2(0.3), L1(0.5), L0(1))
    ours = apart(Union(members).project(case.x, case.z), case.z)
    best = np.min([apart(member.project(case.x, case.z), case.z) for member in members], axis=0)
    np.testing.assert_array_equal(ours, best)


def test_l2_finds_the_nearest_point_when_walls_are_met_one_after_another() -> None:
    rooms = 2.0 ** -torch.arange(20, dtype=torch.float32)
    x = 1 - rooms[None]
    z = x + torch.linspace(1, 3, 20)[None]
    point = L2(1.1).project(x, z)
    assert abs(L2(1.1).distance(x, point).item() - 1.1) < 1e-6


def test_clipping_after_scaling_would_be_farther_away() -> None:
    x, z = torch.tensor([[0.0, 0.5]]), torch.tensor([[-3.0, 1.5]])
    threat = L2(0.4)
    scaled = (x + (z - x) * 0.4 / (z - x).norm()).clamp(0, 1)
    assert apart(threat.project(x, z), z)[0] < apart(scaled, z)[0] - 0.05


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.3, 2), smoothness=st.floats(0.03, 0.15))
@pytest.mark.parametrize("channels", [1, 2])
def test_no_smooth_color_map_that_scipy_finds_is_nearer(channels: int, seed: int, scale: float, smoothness: float) -> None:
    epsilon, nodes = 0.1, {1: 6, 2: 3}[channels]
    threat = Color(epsilon, smoothness, nodes=nodes)
    x = torch.zeros(1, channels, 1, 1)
    z = torch.randn(threat.start(x).shape, generator=torch.Generator().manual_seed(seed)) * scale * epsilon
    ours = threat.project(x, z)
    shape = z.shape[2:]
    differences = np.concatenate(
        [
            np.diff(np.eye(nodes**channels).reshape(-1, *shape), axis=a + 1).reshape(nodes**channels, -1)
            for a in range(channels)
        ],
        axis=1,
    ).T
    for own, wanted in zip(ours[0].flatten(1).double().numpy(), z[0].flatten(1).double().numpy(), strict=True):
        found = minimize(
            lambda p, wanted=wanted: np.sum((p - wanted) ** 2),
            np.zeros(len(wanted)),
            jac=lambda p, wanted=wanted: 2 * (p - wanted),
            bounds=[(-epsilon, epsilon)] * len(wanted),
            constraints={
                "type": "ineq",
                "fun": lambda p: smoothness - np.concatenate([differences @ p, -differences @ p]),
                "jac": lambda p: -np.concatenate([differences, -differences]),
            },
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 300},
        )
        assert np.abs(differences @ found.x).max() <= smoothness + 1e-9
        theirs = float(np.linalg.norm(found.x - wanted))
        assert float(np.linalg.norm(own - wanted)) <= theirs * (1 + 1e-3) + 1e-6 * epsilon


@few
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 100))
def test_flows_and_rotations_are_shortened_to_the_nearest(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(2, 1, 3, 3)
    z = torch.randn(2, 2, 3, 3, generator=generator) * scale
    length = z.double().norm(dim=1, keepdim=True)
    expected = (z.double() * (0.7 / length).clamp(max=1)).numpy()
    np.testing.assert_allclose(Spatial(0.7).project(x, z), expected, atol=1e-6, rtol=1e-6)
    turn = torch.randn(2, 3, generator=generator) * scale
    limits = np.array([20.0, 1.5, 1.5])
    np.testing.assert_allclose(
        RotationTranslation(20, 1.5).project(x, turn), np.clip(turn.double().numpy(), -limits, limits), rtol=1e-6
    )
