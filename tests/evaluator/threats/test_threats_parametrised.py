"""Properties of the threats whose points are not images, or not only balls of images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluator.adaptive.eot import EOT
from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats import Color, Linf, Patch, Physical, RotationTranslation, Spatial, Sum, Threat, Views
from tests.evaluator.threat_support import PARAMETRISED, draws, images, parameters

every_threat = pytest.mark.parametrize("threat", PARAMETRISED.values(), ids=PARAMETRISED.keys())
few = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-4, 3).map(lambda exponent: 10.0**exponent)


def case(threat: Threat, seed: int, scale: float, *, n: int = 3) -> tuple[Tensor, Tensor]:
    """Images and arbitrary points, the first of them unperturbed."""
    generator = torch.Generator().manual_seed(seed)
    x = images(generator, n, (3, 4, 5))
    z = parameters(generator, threat, x, scale)
    z[0] = threat.start(x)[0]
    return x, z


@every_threat
@few
@given(seed=seeds, scale=scales)
def test_projection_is_idempotent_and_inside_and_leaves_the_set_alone(threat: Threat, seed: int, scale: float) -> None:
    x, z = case(threat, seed, scale)
    point = threat.project(x, z)
    assert torch.equal(threat.project(x, point), point)
    assert bool(threat.contains(x, point, slack=0.0).all())
    kept = threat.contains(x, z, slack=0.0)
    assert bool(kept[0])
    assert torch.equal(point[kept], z[kept])


@every_threat
@few
@given(seed=seeds, scale=scales)
def test_every_row_is_projected_and_rendered_as_if_alone(threat: Threat, seed: int, scale: float) -> None:
    x, z = case(threat, seed, scale)
    together = threat.project(x, z)
    alone = torch.cat([threat.project(x[i : i + 1], z[i : i + 1]) for i in range(len(x))])
    assert torch.equal(together, alone)
    rendered = torch.cat([threat.apply(x[i : i + 1], together[i : i + 1]) for i in range(len(x))])
    assert torch.equal(threat.apply(x, together), rendered)
    keep = torch.tensor([True, False, True])
    assert torch.equal(threat.fixed(x)[keep](z[keep]), together[keep])


@every_threat
@few
@given(seed=seeds)
def test_no_perturbation_is_the_identity_bit_for_bit(threat: Threat, seed: int) -> None:
    x, _ = case(threat, seed, 1.0)
    start = threat.start(x)
    assert torch.equal(threat.apply(x, start), x)
    assert threat.distance(x, start).tolist() == [0.0] * len(x)
    assert torch.equal(threat.project(x, start), start)


@every_threat
@few
@given(seed=seeds, scale=scales)
def test_rendered_points_never_leave_the_box(threat: Threat, seed: int, scale: float) -> None:
    x, z = case(threat, seed, scale)
    rendered = threat.apply(x, threat.project(x, z))
    assert rendered.shape == x.shape
    assert bool(((rendered >= 0) & (rendered <= 1)).all())


@every_threat
@few
@given(seed=seeds)
def test_random_starts_are_inside_and_do_not_depend_on_the_batch(threat: Threat, seed: int) -> None:
    x, _ = case(threat, seed, 1.0, n=4)
    together = threat.random_start(x, draws(4, seed=seed))
    assert bool(threat.contains(x, together, slack=0.0).all())
    assert torch.equal(threat.random_start(x[2:], draws(2, seed=seed, first=2)), together[2:])
    streams = draws(4, seed=seed)
    assert not torch.equal(threat.random_start(x, streams), threat.random_start(x, streams))


@every_threat
@few
@given(seed=seeds, exponent=st.floats(-20, 20))
def test_zero_and_extreme_gradients_give_no_nan(threat: Threat, seed: int, exponent: float) -> None:
    _x, z = case(threat, seed, 1.0)
    gradient = z * 10.0**exponent
    gradient[0] = 0
    step = threat.steepest_step(gradient, torch.tensor([0.1, 0.1, 0.0]))
    assert step.shape == z.shape
    assert bool(torch.isfinite(step).all())
    assert not bool(step[0].any())
    assert not bool(step[2].any())


@every_threat
def test_claims_that_are_not_finite_are_neither_contained_nor_a_crash(threat: Threat) -> None:
    x, z = case(threat, 1, 0.0)
    for row, bad in enumerate((torch.nan, torch.inf, -1e30)):
        z[row].view(-1)[0] = bad
    assert threat.contains(x, z).tolist() == [False] * 3
    threat.apply(x, z)


@every_threat
def test_an_empty_batch_stays_empty(threat: Threat) -> None:
    x = torch.zeros(0, 3, 4, 5)
    start = threat.start(x)
    assert threat.project(x, start).shape == start.shape
    assert threat.random_start(x, draws(0)).shape == start.shape
    assert threat.steepest_step(start, torch.zeros(0)).shape == start.shape
    assert threat.contains(x, start).shape == (0,)
    assert threat.apply(x, start).shape == x.shape


SMOOTH = {
    "spatial": Spatial(0.7),
    "spatial-zeros": Spatial(0.7, border="zeros"),
    "rotation-translation": RotationTranslation(15, 1.5),
    "color": Color(0.05, 0.05, nodes=3),
    "sum": Sum((Color(0.02, 0.02, nodes=2), Spatial(0.3), Linf(0.02))),
}


@pytest.mark.parametrize("threat", SMOOTH.values(), ids=SMOOTH.keys())
def test_rendering_is_differentiable_in_the_point(threat: Threat) -> None:
    generator = torch.Generator().manual_seed(3)
    x = 0.2 + 0.6 * torch.rand(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    start = threat.start(x)
    z = start + 0.3 * threat.epsilon * torch.rand(start.shape, generator=generator, dtype=torch.float64)
    z = threat.project(x, z).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda point: threat.apply(x, point), z)


def test_a_steepest_step_attains_its_norms_dual() -> None:
    generator = torch.Generator().manual_seed(4)
    x = images(generator, 2, (3, 4, 5))
    size = torch.tensor([0.2, 0.5])
    flow = torch.randn(2, 2, 4, 5, generator=generator)
    duals = {
        "spatial": (Spatial(0.7), flow, flow.norm(dim=1).flatten(1).sum(dim=1)),
        "rotation": (
            RotationTranslation(10, 2),
            g := torch.randn(2, 3, generator=generator),
            (g.abs() * torch.tensor([10.0, 2, 2])).sum(1),
        ),
        "color": (Color(0.1, 0.3, nodes=2), g := torch.randn(2, 3, 2, 2, 2, generator=generator), g.abs().flatten(1).sum(1)),
        "patch": (Patch(2), g := torch.randn(2, 3, 4, 5, generator=generator), g.abs().flatten(1).sum(1)),
    }
    for threat, gradient, dual in duals.values():
        step = threat.steepest_step(gradient, size)
        torch.testing.assert_close((gradient * step).flatten(1).sum(dim=1), size * dual)
    total = Sum((Spatial(0.7), Linf(0.1)))
    gradient = torch.randn(total.start(x).shape, generator=generator)
    field, added = total.split(gradient)
    dual = 0.7 * field.norm(dim=1).flatten(1).sum(dim=1) + 0.1 * added.abs().flatten(1).sum(dim=1)
    torch.testing.assert_close((gradient * total.steepest_step(gradient, size)).flatten(1).sum(dim=1), size * dual)


def test_a_whole_pixel_of_flow_shifts_the_image_exactly() -> None:
    x = images(torch.Generator().manual_seed(5), 2, (3, 4, 5))
    flow = torch.zeros(2, 2, 4, 5)
    flow[:, 1] = 1.0
    shifted = Spatial(1.0).apply(x, flow)
    assert torch.equal(shifted[..., :-1], x[..., 1:])
    assert torch.equal(shifted[..., -1], x[..., -1])
    assert not bool(Spatial(1.0, border="zeros").apply(x, flow)[..., -1].any())


def test_every_pixel_of_the_edge_can_start_to_move_inward() -> None:
    x = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(13))
    flow = Spatial(1.0).start(x).requires_grad_(True)
    (gradient,) = torch.autograd.grad(Spatial(1.0).apply(x, flow).sum(), flow)
    assert bool((gradient != 0).all())


def test_a_flow_is_measured_by_its_longest_displacement() -> None:
    x, flow = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    flow[0, :, 1, 0] = torch.tensor([3.0, 4.0])
    assert Spatial(1.0).distance(x, flow).item() == 5.0
    torch.testing.assert_close(Spatial(1.0).project(x, flow)[0, :, 1, 0], torch.tensor([0.6, 0.8]))


def test_a_quarter_turn_and_a_translation_move_pixels_exactly() -> None:
    x = images(torch.Generator().manual_seed(6), 1, (1, 4, 4))
    threat = RotationTranslation(90, 2)
    turned = threat.apply(x, torch.tensor([[90.0, 0.0, 0.0]]))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), atol=1e-6, rtol=0)
    moved = threat.apply(x, torch.tensor([[0.0, 1.0, -2.0]]))
    assert torch.equal(moved[..., 1:, :2], x[..., :3, 2:])
    assert not bool(moved[..., 0, :].any())
    assert not bool(moved[..., 2:].any())


def test_a_budget_of_zero_allows_no_move() -> None:
    threat, x = RotationTranslation(30, 0), torch.zeros(2, 1, 3, 3)
    z = torch.tensor([[10.0, 1e-6, 0.0], [10.0, 0.0, 0.0]])
    assert threat.contains(x, z).tolist() == [False, True]
    assert threat.project(x, z)[0].tolist() == [10.0, 0.0, 0.0]


def test_pixels_of_one_color_stay_of_one_color() -> None:
    threat = Color(0.2, 0.1, nodes=5)
    x = images(torch.Generator().manual_seed(7), 2, (3, 2, 2)).repeat(1, 1, 2, 3)
    z = threat.random_start(x, draws(2))
    mapped = threat.apply(x, z)
    assert torch.equal(mapped[..., :2, :2], mapped[..., 2:, 4:])
    assert not torch.equal(mapped, x)
    assert bool(((mapped - x).abs() <= 0.2 + 1e-6).all())


def test_a_color_map_on_one_channel_is_the_interpolated_curve() -> None:
    threat = Color(0.2, 0.4, nodes=3)
    x = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 2, 2)
    z = torch.tensor([[[0.1, -0.1, -0.2]]])
    torch.testing.assert_close(threat.apply(x, z).flatten(), torch.tensor([0.1, 0.25, 0.4, 0.8]))


def test_changes_outside_one_square_are_no_patch() -> None:
    x = torch.full((4, 1, 5, 5), 0.5)
    z = x.clone()
    z[0, 0, 1:3, 1:3] = 1.0
    z[1, 0, 1:4, 1] = 1.0
    z[2, 0, 0, 0], z[2, 0, 4, 4] = 1.0, 1.0
    assert Patch(2).contains(x, z).tolist() == [True, False, False, True]
    assert Patch(2, location=(1, 1)).contains(x, z).tolist() == [True, False, False, True]
    assert Patch(2, location=(0, 0)).contains(x, z).tolist() == [False, False, False, True]
    assert Patch(2, epsilon=0.4).contains(x, z).tolist() == [False, False, False, True]


@few
@given(seed=seeds, scale=scales, epsilon=st.sampled_from([0.3, 1.0]))
def test_a_patch_keeps_the_best_of_all_squares(seed: int, scale: float, epsilon: float) -> None:
    threat = Patch(2, epsilon=epsilon)
    x, z = case(threat, seed, scale)
    best = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for i in range(3):
        for j in range(4):
            candidate = x.double().clone()
            window = (..., slice(i, i + 2), slice(j, j + 2))
            near = torch.minimum(torch.maximum(z.double(), x.double() - epsilon), x.double() + epsilon).clamp(0, 1)
            candidate[window] = near[window]
            best = torch.minimum(best, (candidate - z.double()).flatten(1).norm(dim=1))
    ours = (threat.project(x, z).double() - z.double()).flatten(1).norm(dim=1)
    torch.testing.assert_close(ours, best, rtol=1e-6, atol=1e-7)


def test_a_sum_adds_after_rendering_and_clips() -> None:
    threat = Sum((Spatial(1.0), Linf(0.2)))
    x = torch.tensor([[[[0.0, 0.9]]]])
    z = threat.start(x)
    flow, added = threat.split(z)
    assert (flow.shape, added.shape) == ((1, 2, 1, 2), (1, 1, 1, 2))
    z[:, :2] = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])
    z[:, 2] = torch.tensor([[-0.2, 0.2]])
    torch.testing.assert_close(threat.apply(x, z), torch.tensor([[[[0.7, 1.0]]]]))
    assert bool(threat.contains(x, z))


def test_points_of_another_sum_are_refused() -> None:
    with pytest.raises(InputError, match="not points of this sum"):
        Sum((Spatial(1.0), Spatial(0.5))).split(torch.zeros(1, 7, 2, 2))


def linear(images: Tensor) -> Tensor:
    """Logits of "brighter than middle gray on average"."""
    mean = images.flatten(1).mean(dim=1)
    return torch.stack([0.5 - mean, mean - 0.5], dim=1)


def test_with_every_range_zero_a_view_is_the_object() -> None:
    still = Views(rotation=0, translation=0, scale=0, shear=0, perspective=0, brightness=0, contrast=0, blur=0)
    x = images(torch.Generator().manual_seed(8), 3, (3, 6, 7))
    assert torch.equal(Physical(Linf(0.1), still).sample(x, draws(3)), x)


def test_views_differ_by_example_and_call_and_not_by_batch() -> None:
    threat, x = Physical(Linf(0.1)), images(torch.Generator().manual_seed(9), 3, (3, 6, 7))
    streams = draws(3)
    first, second = threat.sample(x, streams), threat.sample(x, streams)
    assert not torch.equal(first, second)
    assert torch.equal(threat.sample(x[1:], draws(2, first=1)), first[1:])
    assert bool(((first >= 0) & (first <= 1)).all())


@pytest.mark.parametrize("name", ["rotation", "translation", "scale", "shear", "perspective", "brightness", "contrast", "blur"])
def test_every_range_of_views_has_an_effect_of_its_own(name: str) -> None:
    off = dict.fromkeys(["rotation", "translation", "scale", "shear", "perspective", "brightness", "contrast", "blur"], 0.0)
    amount = {"rotation": 10.0, "translation": 1.0, "blur": 1.0}.get(name, 0.2)
    x = images(torch.Generator().manual_seed(10), 2, (3, 6, 6))
    seen = Physical(Linf(0.1), Views(**(off | {name: amount}))).sample(x, draws(2))
    assert not torch.equal(seen, x)


def test_one_stream_gives_one_view_shared_by_all_images_and_so_serves_eot() -> None:
    threat, x = Physical(Linf(0.1)), images(torch.Generator().manual_seed(12), 3, (3, 6, 7))
    shared = threat.sample(x, draws(1))
    assert torch.equal(shared, torch.cat([threat.sample(x[i : i + 1], draws(1)) for i in range(3)]))
    expected = EOT(linear, 4, transformation=threat.sample, seed=5)(x)
    streams = Draws(5, torch.arange(4)).fork(0)
    views = [linear(threat.sample(x, streams[i : i + 1])) for i in range(4)]
    torch.testing.assert_close(expected, torch.stack(views).mean(dim=0))


def test_views_are_differentiable_in_the_images() -> None:
    x = 0.4 + 0.2 * torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    threat = Physical(Linf(0.1), Views(blur=0.4))
    assert torch.autograd.gradcheck(lambda image: threat.sample(image, Draws(0, torch.arange(1))), x.requires_grad_(True))


def test_expectation_is_the_share_of_views_on_which_the_goal_is_met() -> None:
    light = Views(rotation=0, translation=0, scale=0, shear=0, perspective=0, brightness=0.4, contrast=0, blur=0)
    threat = Physical(Linf(0.2), light, samples=600, threshold=0.7)
    x = torch.stack([torch.full((1, 2, 2), value) for value in (0.3, 0.5, 0.7, 0.95)])
    share = threat.expectation(linear, x, x, lambda logits: logits.argmax(dim=1) == 1, draws(4))
    torch.testing.assert_close(share, torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64), atol=0.06, rtol=0)
    assert threat.succeeds(linear, x, x, lambda logits: logits.argmax(dim=1) == 1, draws(4)).tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Spatial(-1.0),
        lambda: RotationTranslation(0, 0),
        lambda: RotationTranslation(200, 0),
        lambda: Color(0.1, 0.0),
        lambda: Color(0.1, 0.1, nodes=1),
        lambda: Patch(0),
        lambda: Sum((Linf(0.1),)),
        lambda: Views(perspective=0.9),
        lambda: Physical(Linf(0.1), threshold=0),
        lambda: Patch(9).random_start(torch.zeros(1, 1, 4, 4), draws(1)),
        lambda: Patch(2, location=(3, 3)).random_start(torch.zeros(1, 1, 4, 4), draws(1)),
        lambda: Spatial(1.0).start(torch.zeros(1, 4)),
        lambda: Color(0.1, 0.1).start(torch.zeros(1, 5, 4, 4)),
    ],
)
def test_impossible_parameters_and_images_are_refused(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        wrong()
