"""Random self-ensemble (Liu et al. 2018): a noise layer before every convolution."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

FIRST, OTHERS = 0.2, 0.1


class Noise(nn.Module):
    """Adds N(0, sigma^2)."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


def load(directory: Path) -> nn.Module:
    """Noise before both convolutions of the standard network."""
    layers: list[nn.Module] = []
    for layer in standard_network():
        if isinstance(layer, nn.Conv2d):
            layers.append(Noise(OTHERS if layers else FIRST))
        layers.append(layer)
    return nn.Sequential(*layers)
