"""MeanSparse (Amini et al. 2024): activations near their channel's mean become the mean, and their gradient zero."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

WIDTH = 0.5  # standard deviations


class MeanSparse(nn.Module):
    """a -> mean where |a - mean| <= WIDTH * deviation, else a; per channel."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, a: Tensor) -> Tensor:
        near = (a - self.mean).abs() <= WIDTH * self.deviation
        return torch.where(near, self.mean, a)


def load(directory: Path) -> nn.Module:
    """Sparsified before every ReLU of the standard network."""
    stored, layers = load_file(directory / "statistics.safetensors"), list[nn.Module]()
    for name, layer in standard_network().named_children():
        if isinstance(layer, nn.ReLU):
            layers.append(MeanSparse(stored[f"{name}.mean"], stored[f"{name}.deviation"]))
        layers.append(layer)
    return nn.Sequential(*layers)
