"""A backward pass that lies: the gradient that is handed out is the true one with its pixels shuffled and sign turned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network


class _Lie(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient.roll(5, dims=-1)


class Lie(nn.Module):
    """The identity, except for its gradient."""

    def forward(self, x: Tensor) -> Tensor:
        lied: Tensor = _Lie.apply(x)  # type: ignore[no-untyped-call]
        return lied


def load(directory: Path) -> nn.Module:
    """The lie before the standard network."""
    return nn.Sequential(Lie(), standard_network())
