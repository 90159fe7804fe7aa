"""A pass over a network can be ended between its layers, in both directions, and is otherwise what it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluator.host.interrupting import interruptible


class Enough(Exception):
    pass


class _Counted:
    """A check that raises after so many calls."""

    def __init__(self, allowed: int) -> None:
        self.allowed, self.calls = allowed, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls > self.allowed:
            raise Enough


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


def gradient_of(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.clone().requires_grad_(True)
    logits = model(leaf)
    return logits.detach(), torch.autograd.grad(logits.square().sum(), leaf)[0]


def test_an_uninterrupted_pass_gives_the_same_bits_and_is_checked_after_every_layer() -> None:
    x, check = torch.rand(5, 1, 8, 8), _Counted(8)
    watched = gradient_of(interruptible(network(), check), x)
    plain = gradient_of(network(), x)
    assert torch.equal(watched[0], plain[0])
    assert torch.equal(watched[1], plain[1])
    assert check.calls == 8  # four layers, forward and backward


@pytest.mark.parametrize("allowed", range(8))
def test_a_pass_ends_after_the_layer_at_which_the_check_raises(allowed: int) -> None:
    check = _Counted(allowed)
    with pytest.raises(Enough):
        gradient_of(interruptible(network(), check), torch.rand(5, 1, 8, 8))
    assert check.calls == allowed + 1
