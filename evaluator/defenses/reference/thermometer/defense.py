"""Thermometer encoding (Buckman et al. 2018): every pixel becomes the unary code of its level, which has no gradient."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import small_network, with_weights

LEVELS = 10


class Thermometer(nn.Module):
    """(n, 1, h, w) -> (n, LEVELS, h, w), pi(x)_k = 1 where x > k / LEVELS, k = 1 .. LEVELS: 0.66 is 1111110000."""

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(1, LEVELS + 1, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1) / LEVELS
        return (x - steps).clamp(0, 1).ceil().detach()


def network() -> nn.Sequential:
    """The encoding and the network that reads it, without weights."""
    return nn.Sequential(Thermometer(), small_network(channels=LEVELS))


def load(directory: Path) -> nn.Module:
    """With the trained weights."""
    return with_weights(network(), directory / "weights.safetensors")
