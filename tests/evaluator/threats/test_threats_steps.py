"""Steepest steps attain the dual norm, and on a linear model the closed forms of the literature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluator.threats import L0, L1, L2, Linf, Threat, Union
from tests.evaluator.threat_support import norm

few = settings(max_examples=40)


def gradients(seed: int) -> Tensor:
    return torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(seed))


def largest_product(threat: Threat, gradient: Tensor, size: float) -> float:
    """size times the dual norm of one gradient, by numpy in float64."""
    g = gradient.double().numpy()
    match threat:
        case Linf():
            return size * norm("l1", g)
        case L2():
            return size * norm("l2", g)
        case L1():
            return size * norm("linf", g)
        case L0():
            pixels = np.sort(np.abs(g).sum(axis=0).ravel())[::-1]
            return float(pixels[: int(np.ceil(size))].sum())
        case Union():
            return max(largest_product(member, gradient, size * member.epsilon) for member in threat.members)
    raise TypeError(threat)


@few
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-3, 4))
@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0), L1(3.0), L0(2), Union((Linf(0.1), L2(1.0), L1(5.0), L0(1)))])
def test_the_step_attains_size_times_the_dual_norm(threat: Threat, seed: int, size: float) -> None:
    gradient = gradients(seed)
    step = threat.steepest_step(gradient, size)
    for g, move in zip(gradient, step, strict=True):
        product = float((g.double() * move.double()).sum())
        assert product == pytest.approx(largest_product(threat, g, size), rel=1e-5)


@few
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-3, 4))
@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0), L1(3.0), L1(3.0, share=0.25)])
def test_the_step_has_the_size_asked_for_one_size_an_example(threat: Threat, seed: int, size: float) -> None:
    sizes = torch.tensor([size, 2 * size, 0.0])
    step = threat.steepest_step(gradients(seed), sizes)
    for move, wanted in zip(step, sizes.tolist(), strict=True):
        assert norm(threat.kind, move.numpy()) == pytest.approx(wanted, rel=1e-5)


def test_an_l1_step_moves_one_coordinate_or_the_share_asked_for() -> None:
    gradient = gradients(5)
    assert (L1(1.0).steepest_step(gradient, 1.0) != 0).flatten(1).sum(dim=1).tolist() == [1, 1, 1]
    assert (L1(1.0, share=0.25).steepest_step(gradient, 1.0) != 0).flatten(1).sum(dim=1).tolist() == [6, 6, 6]


@pytest.mark.parametrize(("threat", "dual"), [(Linf(0.1), 1), (L2(0.2), 2), (L1(0.3), np.inf)], ids=["linf", "l2", "l1"])
def test_the_worst_point_of_a_linear_model_is_its_closed_form(threat: Threat, dual: float) -> None:
    """min over the ball of y (w.x + b) is y (w.x + b) - epsilon * dual norm of w."""
    generator = torch.Generator().manual_seed(7)
    w, x = torch.randn(12, generator=generator), 0.3 + 0.4 * torch.rand(6, 12, generator=generator)
    y = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    gradient = -y[:, None] * w
    worst = threat.project(x, x + threat.steepest_step(gradient, threat.epsilon))
    expected = y.double() * (x.double() @ w.double()) - threat.epsilon * float(np.linalg.norm(w.double().numpy(), dual))
    np.testing.assert_allclose((y.double() * (worst.double() @ w.double())).numpy(), expected.numpy(), atol=1e-6)


def test_the_worst_l0_point_of_a_linear_model_takes_the_pixels_with_the_most_to_gain() -> None:
    x, w = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[[[1.0, -3.0], [2.0, 0.5]]]])
    worst = L0(2).project(x, x + L0(2).steepest_step(w, 2))
    assert torch.equal(worst, torch.tensor([[[[0.5, 0.0], [1.0, 0.5]]]]))
