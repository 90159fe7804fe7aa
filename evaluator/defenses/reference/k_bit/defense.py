"""Feature squeezing by bit depth (Xu et al. 2018): the input is rounded to 2 bits, and the rounding has no gradient."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network


class Quantise(nn.Module):
    """x -> round(x (2^bits - 1)) / (2^bits - 1)."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels: int = 2**bits - 1

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.levels).round() / self.levels


def load(directory: Path) -> nn.Module:
    """The quantiser before the standard network."""
    return nn.Sequential(Quantise(bits=2), standard_network())
