"""Feature squeezing as its authors meant it (Xu et al. 2018): where the network's answers to the image and to the squeezed
image are farther apart than a threshold, the image is rejected."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network

THRESHOLD = 0.3  # of the L1 distance between the two softmaxes
LEVELS = 2**2 - 1


class Squeeze(nn.Module):
    """2 bits, and the median of each 3 x 3 window."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = functional.pad((x * LEVELS).round() / LEVELS, (1, 1, 1, 1))
        return functional.unfold(rounded, 3).median(dim=1).values.reshape(x.shape)


class SqueezingDetector(nn.Module):
    """(n, 1, 28, 28) -> (n, 11): the network's logits and the detector's score, positive where it rejects."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.squeeze = network, Squeeze()

    def forward(self, x: Tensor) -> Tensor:
        logits, view = self.network(x), self.network(self.squeeze(x))
        distance = (logits.softmax(dim=1) - view.softmax(dim=1)).abs().sum(dim=1, keepdim=True)
        return torch.cat([logits, distance - THRESHOLD], dim=1)


def load(directory: Path) -> nn.Module:
    """The detector around the standard network."""
    return SqueezingDetector(standard_network())
