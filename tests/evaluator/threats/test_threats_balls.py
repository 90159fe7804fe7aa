"""Properties of every Lp ball and of their union: projection, membership, steps, draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluator.errors import InputError
from evaluator.threats import L0, L1, L2, Linf, Threat, Union
from tests.evaluator.threat_support import BALLS, Case, cases, draws, images, norm

every_ball = pytest.mark.parametrize("threat", BALLS.values(), ids=BALLS.keys())
few = settings(max_examples=40)


def within(threat: Threat, move: Tensor) -> bool:
    """One perturbation's membership by numpy in float64 (a last-bit allowance for its own order of summation)."""
    if isinstance(threat, Union):
        return any(within(member, move) for member in threat.members)
    return norm(threat.kind, move.double().numpy()) <= threat.epsilon * (1 + 1e-15)


@every_ball
@few
@given(case=cases())
def test_projection_is_idempotent_bit_for_bit(threat: Threat, case: Case) -> None:
    once = threat.project(case.x, case.z)
    assert torch.equal(threat.project(case.x, once), once)


@every_ball
@few
@given(case=cases())
def test_projection_leaves_neither_ball_nor_box_in_float64(threat: Threat, case: Case) -> None:
    point = threat.project(case.x, case.z)
    assert bool(((point >= 0) & (point <= 1)).all())
    assert bool(threat.contains(case.x, point, slack=0.0).all())
    assert all(within(threat, move) for move in point.double() - case.x.double())


@every_ball
@few
@given(case=cases())
def test_points_of_the_set_are_left_alone(threat: Threat, case: Case) -> None:
    kept = threat.contains(case.x, case.z, slack=0.0)
    assert torch.equal(threat.project(case.x, case.z)[kept], case.z[kept])
    assert torch.equal(threat.project(case.x, case.x), case.x)


@every_ball
@few
@given(case=cases())
def test_every_row_is_projected_as_if_alone(threat: Threat, case: Case) -> None:
    together = threat.project(case.x, case.z)
    alone = [threat.project(case.x[i : i + 1], case.z[i : i + 1]) for i in range(len(case.x))]
    assert torch.equal(together, torch.cat(alone))


@every_ball
@few
@given(case=cases())
def test_the_fixed_projector_equals_project_and_follows_the_active_examples(threat: Threat, case: Case) -> None:
    projector, keep = threat.fixed(case.x), torch.arange(len(case.x)) % 2 == 0
    assert torch.equal(projector(case.z), threat.project(case.x, case.z))
    assert torch.equal(projector[keep](case.z[keep]), threat.project(case.x[keep], case.z[keep]))


@every_ball
def test_rows_of_large_images_are_projected_as_if_alone(threat: Threat) -> None:
    generator = torch.Generator().manual_seed(1)
    x = images(generator, 3, (3, 40, 40))
    z = x + torch.randn(x.shape, generator=generator) * 0.1
    z[1] = x[1] + (z[1] - x[1]) * 1e-4
    alone = torch.cat([threat.project(x[i : i + 1], z[i : i + 1]) for i in range(3)])
    assert torch.equal(threat.project(x, z), alone)
    assert bool(threat.contains(x, alone, slack=0.0).all())


@every_ball
def test_float64_points_are_projected_too(threat: Threat) -> None:
    generator = torch.Generator().manual_seed(2)
    x = images(generator, 8, (3, 4, 4)).double()
    z = x + torch.randn(x.shape, generator=generator)
    point = threat.project(x, z)
    assert point.dtype == torch.float64
    assert torch.equal(threat.project(x, point), point)
    assert bool(threat.contains(x, point, slack=0.0).all())


@every_ball
def test_an_empty_batch_stays_empty(threat: Threat) -> None:
    x = torch.zeros(0, 3, 4, 4)
    assert threat.project(x, x).shape == x.shape
    assert threat.random_start(x, draws(0)).shape == x.shape
    assert threat.steepest_step(x, 1.0).shape == x.shape
    assert threat.contains(x, x).shape == (0,)


@every_ball
def test_the_start_is_the_clean_image_and_at_distance_zero(threat: Threat) -> None:
    x = images(torch.Generator().manual_seed(3), 4, (3, 4, 4))
    assert torch.equal(threat.apply(x, threat.start(x)), x)
    assert threat.distance(x, threat.start(x)).tolist() == [0.0] * 4
    assert threat.distance(x, x).dtype == torch.float64


@every_ball
def test_a_claim_that_is_not_finite_or_leaves_the_box_is_not_contained(threat: Threat) -> None:
    x = torch.full((4, 3, 2, 2), 1.0)
    z = x.clone()
    z[0, 0, 0, 0], z[1, 0, 0, 0] = torch.nan, torch.inf
    z[2, 0, 0, 0] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert threat.contains(x, z).tolist() == [False, False, False, True]


@every_ball
def test_a_claim_of_another_shape_is_refused_with_one_sentence(threat: Threat) -> None:
    with pytest.raises(InputError, match="one point per example"):
        threat.contains(torch.zeros(2, 3, 2, 2), torch.zeros(1, 3, 2, 2))


@every_ball
@few
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-30, 30))
def test_zero_gradients_and_extreme_gradients_give_no_nan(threat: Threat, seed: int, exponent: float) -> None:
    gradient = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    gradient[0] = 0
    step = threat.steepest_step(gradient, torch.tensor([0.5, 0.5, 0.0]))
    assert bool(torch.isfinite(step).all())
    assert not bool(step[0].any())
    assert not bool(step[2].any())


@every_ball
@few
@given(seed=st.integers(0, 2**32 - 1))
def test_random_starts_are_inside_and_do_not_depend_on_the_batch(threat: Threat, seed: int) -> None:
    x = images(torch.Generator().manual_seed(seed), 5, (3, 4, 4))
    together = threat.random_start(x, draws(5, seed=seed))
    assert bool(threat.contains(x, together, slack=0.0).all())
    assert torch.equal(threat.random_start(x[3:], draws(2, seed=seed, first=3)), together[3:])


@every_ball
def test_a_second_random_start_differs_from_the_first(threat: Threat) -> None:
    x, streams = torch.full((2, 3, 4, 4), 0.5), draws(2)
    assert not torch.equal(threat.random_start(x, streams), threat.random_start(x, streams))


@pytest.mark.parametrize(
    ("threat", "z"),
    [
        (Linf(0.25), [0.25, 0.5, 0.0]),
        (L2(0.5), [0.3125, 0.5, 0.0]),
        (L1(0.75), [0.25, 0.5, 0.0]),
    ],
    ids=["linf", "l2", "l1"],
)
def test_the_boundary_is_reached_exactly_in_float32(threat: Threat, z: list[float]) -> None:
    x = torch.zeros(1, 3)
    direction = torch.tensor([z]) - x
    outside = x + direction * 4
    point = threat.project(x, outside)
    shortfall = threat.epsilon - threat.distance(x, point).item()
    assert 0 <= shortfall <= 1e-7
    on = torch.zeros(1, 3)
    on[0, 1] = threat.epsilon
    assert torch.equal(threat.project(x, on), on)
    far = torch.zeros(1, 3)
    far[0, 1] = 0.9
    assert torch.equal(threat.project(x, far), on)


@few
@given(case=cases(), epsilon=st.floats(1e-4, 1))
def test_linf_bounds_are_the_outermost_float32_values_inside(case: Case, epsilon: float) -> None:
    low, high = Linf(epsilon).bounds(case.x)
    wide = case.x.double()
    assert bool((wide - low.double() <= epsilon).all())
    assert bool((high.double() - wide <= epsilon).all())
    below, above = torch.nextafter(low, torch.tensor(-1.0)), torch.nextafter(high, torch.tensor(2.0))
    assert bool(((low == 0) | (wide - below.double() > epsilon * (1 - 1e-15))).all())
    assert bool(((high == 1) | (above.double() - wide > epsilon * (1 - 1e-15))).all())


def test_an_epsilon_just_above_a_float32_difference_is_never_exceeded() -> None:
    x = torch.ones(1, 1)
    point = Linf(0.25 - 2.0**-55).project(x, torch.zeros(1, 1))
    assert 1 - point.double().item() <= 0.25 - 2.0**-55


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [Linf, L2, L1, L0])
def test_an_impossible_epsilon_is_refused(kind: type[Threat], epsilon: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        kind(epsilon)


def test_other_impossible_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="whole number of pixels"):
        L0(1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="share"):
        L1(1.0, share=1.5)
    with pytest.raises(InputError, match="two members"):
        Union((Linf(0.1),))


def test_a_pixel_is_all_channels_of_one_position() -> None:
    x = torch.zeros(1, 3, 2, 2)
    z = x.clone()
    z[0, :, 1, 1] = 1.0
    assert L0(1).distance(x, z).item() == 1
    assert L0(1).distance(x.flatten(1), z.flatten(1)).item() == 3


def test_of_equally_good_pixels_the_first_are_kept() -> None:
    x, z = torch.zeros(2, 1, 20, 20), torch.ones(2, 1, 20, 20)
    kept = L0(30).project(x, z).flatten(1)
    assert bool(kept[:, :30].all())
    assert not bool(kept[:, 30:].any())


def test_a_union_holds_what_any_member_holds_and_nothing_else() -> None:
    threat = Union((Linf(0.1), L0(1)))
    x = torch.full((3, 1, 2, 2), 0.5)
    z = x.clone()
    z[0] += 0.1
    z[1, 0, 0, 0] = 1.0
    z[2, 0, 0, :] = 1.0
    assert threat.contains(x, z).tolist() == [True, True, False]
    np.testing.assert_allclose(threat.distance(x, z).numpy(), [1.0, 1.0, 2.0], rtol=1e-6)


def test_a_ball_of_perturbations_ignores_the_image_box() -> None:
    zero = torch.zeros(1, 4)
    for threat in (Linf(0.3, box=(-1.0, 1.0)), L2(0.6, box=(-1.0, 1.0)), L1(1.2, box=(-1.0, 1.0))):
        point = threat.project(zero, torch.full((1, 4), -0.9))
        np.testing.assert_allclose(point.numpy(), -0.3, rtol=1e-6)
        assert bool(threat.contains(zero, point, slack=0.0))
