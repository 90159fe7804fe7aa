"""Feature squeezing by bit depth (Xu et al. 2018): the input is rounded to 2 bits, and the rounding has no gradient."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

LEVELS = 2**2 - 1


class Quantise(nn.Module):
    """x -> round(x (2^k - 1)) / (2^k - 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * LEVELS).round() / LEVELS


def load(directory: Path) -> nn.Module:
    """The quantiser before the standard network."""
    return nn.Sequential(Quantise(), standard_network())
