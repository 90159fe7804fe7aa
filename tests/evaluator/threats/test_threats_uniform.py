"""Random starts are uniform in the set: Kolmogorov-Smirnov tests on coordinates, radii and conditional cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from evaluator.threats import L0, L1, L2, Color, Linf, Patch, RotationTranslation, Spatial, Union
from tests.evaluator.threat_support import draws, norm

N = 4000
P = 1e-3  # the seeds are fixed, so that these tests either pass always or never


def moves(threat: Linf | L2 | L1, center: list[float]) -> np.ndarray:
    """(N, d) float64 random starts minus the center."""
    x = torch.tensor(center).expand(N, -1)
    return (threat.random_start(x, draws(N, seed=11)).double() - x.double()).numpy()


def test_linf_coordinates_are_uniform_on_their_intervals() -> None:
    found = moves(Linf(0.1), [0.5, 0.0, 1.0, 0.03])
    for column, (low, high) in zip(found.T, [(-0.1, 0.1), (0, 0.1), (-0.1, 0), (-0.03, 0.1)], strict=True):
        assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > P


@pytest.mark.parametrize("threat", [L2(0.4), L1(0.4)], ids=["l2", "l1"])
@pytest.mark.parametrize("center", [[0.5, 0.5, 0.5], [0.0, 0.5, 1.0]], ids=["interior", "walls"])
def test_the_radius_to_the_power_d_is_uniform(threat: L2 | L1, center: list[float]) -> None:
    radius = np.array([norm(threat.kind, move) for move in moves(threat, center)])
    assert stats.kstest((radius / threat.epsilon) ** 3, "uniform").pvalue > P


@pytest.mark.parametrize("threat", [L2(0.4), L1(0.4)], ids=["l2", "l1"])
def test_ball_and_box_together_are_filled_uniformly_where_the_box_cuts(threat: L2 | L1) -> None:
    center = [0.1, 0.95]
    found = moves(threat, center)
    rng = np.random.default_rng(3)
    square = rng.uniform(-0.4, 0.4, (60 * N, 2))
    inside = np.array([norm(threat.kind, move) <= 0.4 for move in square]) & (
        ((square + center >= 0) & (square + center <= 1)).all(axis=1)
    )
    reference = square[inside]
    for statistic in (lambda m: m[:, 0], lambda m: m[:, 1], lambda m: m @ [1.0, 1.0], lambda m: m @ [1.0, -2.0]):
        assert stats.ks_2samp(statistic(found), statistic(reference)).pvalue > P


def test_pixels_on_the_walls_cost_no_uniformity_elsewhere() -> None:
    found = moves(L2(0.4), [0.0] * 6 + [0.1])
    rng = np.random.default_rng(4)
    cube = rng.uniform([0] * 6 + [-0.1], 0.4, (60 * N, 7))
    reference = cube[np.linalg.norm(cube, axis=1) <= 0.4]
    for statistic in (lambda m: m[:, 6], lambda m: m[:, 0], lambda m: np.linalg.norm(m, axis=1)):
        assert stats.ks_2samp(statistic(found), statistic(reference)).pvalue > P


@pytest.mark.parametrize("threat", [L2(0.5), L1(12.0)], ids=["l2", "l1"])
def test_starts_in_many_dimensions_are_not_piled_on_the_walls(threat: L2 | L1) -> None:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.01
    z = threat.random_start(x, draws(4))
    assert not bool(((z == 0) & (x > 0)).any(dim=0).float().mean() > 1e-3)
    assert bool((threat.distance(x, z) > 0.9 * threat.epsilon * 0.5).all())


def test_l0_starts_change_uniform_pixels_to_uniform_values() -> None:
    x = torch.full((N, 1, 2, 3), 0.5)
    z = L0(2).random_start(x, draws(N, seed=5))
    changed = (z != x).flatten(1)
    assert bool((changed.sum(dim=1) == 2).all())
    pairs = changed.double() @ (2.0 ** torch.arange(6, dtype=torch.float64))
    counts = np.unique(pairs.numpy(), return_counts=True)[1]
    assert len(counts) == 15
    assert stats.chisquare(counts).pvalue > P
    assert stats.kstest(z.flatten(1)[changed].double().numpy(), "uniform").pvalue > P


def test_union_starts_choose_their_members_fairly() -> None:
    threat = Union((Linf(0.01), L0(1)))
    x = torch.full((N, 1, 2, 2), 0.5)
    z = threat.random_start(x, draws(N, seed=5))
    single = ((z != x).flatten(1).sum(dim=1) == 1).sum().item()
    assert stats.binomtest(single, N, 0.5).pvalue > P


def test_flows_are_uniform_in_every_pixels_disc() -> None:
    flow = Spatial(2.0).random_start(torch.zeros(N // 4, 1, 2, 2), draws(N // 4)).double().permute(0, 2, 3, 1).reshape(-1, 2)
    assert stats.kstest((flow.norm(dim=1) / 2).square().numpy(), "uniform").pvalue > P
    angle = torch.atan2(flow[:, 0], flow[:, 1]).numpy() / (2 * np.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > P


def test_rotations_and_translations_are_uniform_in_their_budgets() -> None:
    z = RotationTranslation(30, 3).random_start(torch.zeros(N, 1, 2, 2), draws(N)).numpy()
    for column, limit in zip(z.T, (30, 3, 3), strict=True):
        assert stats.kstest(column, stats.uniform(-limit, 2 * limit).cdf).pvalue > P


@pytest.mark.parametrize("smoothness", [0.15, 0.5], ids=["smooth", "free"])
def test_color_maps_are_uniform_in_their_polytope(smoothness: float) -> None:
    threat = Color(0.2, smoothness, nodes=3)
    found = threat.random_start(torch.zeros(N, 1, 2, 2), draws(N)).flatten(1).double().numpy()
    cube = np.random.default_rng(1).uniform(-0.2, 0.2, (20 * N, 3))
    reference = cube[(np.abs(np.diff(cube, axis=1)) <= smoothness).all(axis=1)]
    for statistic in (lambda m: m[:, 0], lambda m: m[:, 1], lambda m: m[:, 2] - m[:, 1], lambda m: np.abs(m).max(axis=1)):
        assert stats.ks_2samp(statistic(found), statistic(reference)).pvalue > P


def test_patches_are_anywhere_with_any_content() -> None:
    x = torch.full((N, 1, 3, 4), 0.5)
    z = Patch(2).random_start(x, draws(N))
    changed = (z != x).flatten(1)
    assert bool((changed.sum(dim=1) == 4).all())
    counts = np.unique(changed.double().numpy() @ (2.0 ** np.arange(12)), return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > P
    assert stats.kstest(z.flatten(1)[changed].double().numpy(), "uniform").pvalue > P
