"""Common corruptions: 15 kinds in 5 severities, deterministic for each example, and the worst of them as a threat."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluator.errors import InputError
from evaluator.manifests.threat_specs import CorruptionKind
from evaluator.threats.corruptions import KINDS, Corruptions, corrupt
from evaluator.threats.corruptions.kernels import plasma
from tests.evaluator.threat_support import draws

every_kind = pytest.mark.parametrize("kind", KINDS)
both_sizes = pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)], ids=["cifar10", "mnist"])


def pictures(shape: tuple[int, ...], n: int = 4) -> Tensor:
    """Smooth colored scenes with a sharp-edged bright square and a black margin, in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear").clamp(0, 1)
    x[:, :, 8:14, 9:17] = 1.0
    x[:, :, :3] = 0.0
    return x


def test_there_are_the_15_kinds_of_the_paper_and_manifests_know_them() -> None:
    assert tuple(KINDS) == typing.get_args(CorruptionKind)
    assert len(KINDS) == 15


@every_kind
@both_sizes
def test_a_corruption_changes_the_image_and_stays_in_the_box(kind: str, shape: tuple[int, ...]) -> None:
    x = pictures(shape, 2)
    for severity in range(1, 6):
        seen = corrupt(x, kind, severity, draws(len(x)))
        assert (seen.shape, seen.dtype) == (x.shape, torch.float32)
        assert bool(((seen >= 0) & (seen <= 1)).all())
        assert bool(((seen - x).flatten(1).norm(dim=1) > 0.05).all())


@every_kind
@both_sizes
def test_a_corruption_depends_on_the_example_and_not_on_its_batch(kind: str, shape: tuple[int, ...]) -> None:
    x = pictures(shape)
    together = corrupt(x, kind, 3, draws(4))
    assert torch.equal(corrupt(x, kind, 3, draws(4)), together)
    assert torch.equal(corrupt(x[2:3], kind, 3, draws(1, first=2)), together[2:3])
    assert corrupt(x[:0], kind, 3, draws(0)).shape == (0, *shape)


@pytest.mark.parametrize(
    "kind", sorted(set(KINDS) - {"defocus-blur", "zoom-blur", "brightness", "contrast", "pixelate", "jpeg"})
)
def test_random_corruptions_differ_from_example_to_example(kind: str) -> None:
    x = pictures((3, 32, 32), 1).repeat(2, 1, 1, 1)
    seen = corrupt(x, kind, 4, draws(2))
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"glass-blur", "frost", "elastic", "pixelate"}))
def test_a_higher_severity_changes_more(kind: str) -> None:
    """The other four trade strength for roughness in CIFAR-10-C, or depend on where edges fall on the coarse grid."""
    x = pictures((3, 32, 32), 6)
    change = [(corrupt(x, kind, severity, draws(6)) - x).square().mean().item() for severity in range(1, 6)]
    assert change == sorted(change)
    assert change[4] > 1.3 * change[0]


def test_noises_have_the_moments_of_their_distributions() -> None:
    x = torch.full((20, 3, 32, 32), 0.4)
    gaussian = corrupt(x, "gaussian-noise", 3, draws(20)) - x
    assert abs(gaussian.mean().item()) < 1e-3
    assert gaussian.std().item() == pytest.approx(0.08, rel=0.01)
    shot = corrupt(x, "shot-noise", 3, draws(20))
    assert shot.mean().item() == pytest.approx(0.4, abs=1e-3)
    assert shot.var().item() == pytest.approx(0.4 / 100, rel=0.02)
    counts = shot * 100
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    impulse = corrupt(x, "impulse-noise", 5, draws(20))
    assert (impulse == 0).float().mean().item() == pytest.approx(0.035, rel=0.05)
    assert (impulse == 1).float().mean().item() == pytest.approx(0.035, rel=0.05)


def test_blurs_keep_the_light_and_flat_images() -> None:
    flat = torch.full((2, 3, 32, 32), 0.3)
    for kind in ("defocus-blur", "glass-blur", "motion-blur", "zoom-blur", "elastic", "contrast"):
        torch.testing.assert_close(corrupt(flat, kind, 5, draws(2)), flat, atol=1e-5, rtol=0)


def test_contrast_and_brightness_follow_their_formulas() -> None:
    x = pictures((3, 32, 32))
    mean = x.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(corrupt(x, "contrast", 2, draws(4)), (x - mean) * 0.5 + mean)
    gray = pictures((1, 28, 28))
    torch.testing.assert_close(corrupt(gray, "brightness", 5, draws(4)), (gray + 0.3).clamp(max=1))
    dark = torch.tensor([0.2, 0.1, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    brighter = corrupt(dark, "brightness", 2, draws(1))
    torch.testing.assert_close(brighter[0, :, 0, 0], torch.tensor([0.25, 0.125, 0.5]))


def test_plasma_is_a_torus_of_clouds_between_0_and_1_and_smoother_with_more_decay() -> None:
    rough, smooth = (plasma(draws(20), 32, 32, decay=decay) for decay in (1.3, 3.0))
    for cloud in (rough, smooth):
        np.testing.assert_allclose(cloud.amin(dim=(1, 2)), 0.0)
        np.testing.assert_allclose(cloud.amax(dim=(1, 2)), 1.0)
    assert smooth.diff(dim=1).abs().mean() < 0.5 * rough.diff(dim=1).abs().mean()
    wrap = (smooth[:, 0] - smooth[:, -1]).abs().mean()
    assert wrap < 3 * smooth.diff(dim=1).abs().mean()


def test_without_noise_every_later_point_of_a_plasma_is_the_mean_of_its_four_neighbors() -> None:
    cloud = plasma(draws(3), 32, 32, decay=1e5)
    for (i, j), neighbors in {
        (4, 4): [(0, 0), (0, 8), (8, 0), (8, 8)],
        (8, 4): [(8, 0), (8, 8), (4, 4), (12, 4)],
        (4, 8): [(0, 8), (8, 8), (4, 4), (4, 12)],
        (0, 28): [(0, 24), (0, 0), (28, 28), (4, 28)],
    }.items():
        mean = torch.stack([cloud[:, a, b] for a, b in neighbors]).mean(dim=0)
        torch.testing.assert_close(cloud[:, i, j], mean, atol=1e-6, rtol=0)


def test_unknown_kinds_severities_and_images_are_refused() -> None:
    x = pictures((3, 32, 32))
    with pytest.raises(InputError, match='Did you mean "frost"'):
        corrupt(x, "forst", 1, draws(4))
    with pytest.raises(InputError, match="severity"):
        corrupt(x, "frost", 6, draws(4))
    with pytest.raises(InputError, match="1 or 3"):
        corrupt(x[:, :2], "frost", 1, draws(4))
    with pytest.raises(InputError, match="severity"):
        Corruptions(0)
    for wrong in ((4, 2), (0, 3), (3, 6)):
        with pytest.raises(InputError, match="severity"):
            Corruptions(wrong)


def test_the_threat_is_its_finite_set_and_no_more() -> None:
    threat, x = Corruptions(2, ("fog", "gaussian-noise"), realizations=2), pictures((3, 32, 32))
    assert torch.equal(threat.apply(x, threat.start(x)), x)
    points = list(threat.points(x))
    assert len(points) == 4
    for point in points:
        assert bool(threat.contains(x, point, slack=0.0).all())
        assert torch.equal(threat.project(x, point), point)
        assert threat.distance(x, point).tolist() == [2.0] * 4
    rendered = [threat.apply(x, point) for point in points]
    assert len({tuple(image.flatten().tolist()) for image in rendered}) == 4
    wrong = torch.tensor([[3.0, 2.0, 0.0], [1.0, 2.0, 2.0], [0.5, 2.0, 0.0], [torch.nan, 2.0, 0.0]])
    assert threat.contains(x, wrong).tolist() == [False] * 4
    assert threat.project(x, wrong[:3]).tolist() == [[2.0, 2.0, 0.0], [1.0, 2.0, 1.0], [0.0, 0.0, 0.0]]
    threat.apply(x, wrong)


def test_a_range_of_severities_is_every_severity_from_the_lowest_to_the_highest() -> None:
    threat, x = Corruptions((2, 4), ("fog", "contrast")), pictures((3, 32, 32), 2)
    points = list(threat.points(x))
    assert [point[0].tolist() for point in points] == [[kind, severity, 0] for kind in (1, 2) for severity in (2, 3, 4)]
    assert threat.epsilon == 4.0
    for point in points:
        alone = Corruptions(int(point[0, 1]), threat.kinds)
        assert torch.equal(threat.apply(x, point), alone.apply(x, point)), "a severity is the same picture in any range"
        assert bool(threat.contains(x, point, slack=0.0).all())
        assert threat.distance(x, point).tolist() == [float(point[0, 1])] * 2
    mild = torch.tensor([[1.0, 1.0, 0.0], [1.0, 5.0, 0.0]])
    assert not bool(threat.contains(x, mild).any())
    assert threat.project(x, mild)[:, 1].tolist() == [2.0, 4.0]
    drawn = threat.random_start(torch.zeros(600, 3, 8, 8), draws(600))
    assert torch.bincount(drawn[:, 1].long())[2:].min() > 150


def test_the_threat_renders_each_image_as_if_alone() -> None:
    threat, x = Corruptions(3), pictures((3, 32, 32))
    z = threat.random_start(x, draws(4))
    assert torch.equal(threat.random_start(x[1:], draws(3, first=1)), z[1:])
    alone = torch.cat([threat.apply(x[i : i + 1], z[i : i + 1]) for i in range(4)])
    assert torch.equal(threat.apply(x, z), alone)


def test_random_starts_try_every_kind_equally_and_gradients_lead_nowhere() -> None:
    threat, x = Corruptions(1), torch.zeros(3000, 1, 8, 8)
    counts = torch.bincount(threat.random_start(x, draws(3000))[:, 0].long(), minlength=16)
    assert counts[0] == 0
    assert bool((counts[1:] > 140).all())
    z = threat.random_start(x[:3], draws(3)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(threat.apply(x[:3], z).sum(), z)
    assert not bool(gradient.any())
    assert not bool(threat.steepest_step(torch.ones(3, 3), 1.0).any())
