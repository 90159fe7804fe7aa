"""A detector of adversarial inputs (feature squeezing, Xu et al. 2018): where the network and its view of the squeezed image
disagree, the squeezed view answers. There is no class "rejected": an input must be classified.

The view has 2 bits: at 1 bit MNIST, nearly binary itself, would be robust to 0.3 for a part, detector or not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network

THRESHOLD = 0.3
LEVELS = 2**2 - 1


class Detector(nn.Module):
    """A quantised and median-smoothed view; the gate has no gradient, and neither has the squeezed view."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        squeezed = (x * LEVELS).round() / LEVELS
        patches = functional.unfold(functional.pad(squeezed, (1, 1, 1, 1)), 3)
        smooth = patches.median(dim=1).values.reshape(x.shape)
        plain, view = self.network(x), self.network(smooth)
        distance = (plain.softmax(dim=1) - view.softmax(dim=1)).abs().sum(dim=1)
        return torch.where((distance > THRESHOLD)[:, None], view, plain)


def load(directory: Path) -> nn.Module:
    """The detector around the standard network."""
    return Detector(standard_network())
