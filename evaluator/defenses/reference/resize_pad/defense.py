"""Random resize and pad (Xie et al. 2018, "Mitigating Adversarial Effects Through Randomization")."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network


class ResizePad(nn.Module):
    """Shrinks the batch of square images to a random side, at least `smallest`, and puts it at a random place on black."""

    def __init__(self, smallest: int) -> None:
        super().__init__()
        self.smallest = smallest

    def forward(self, x: Tensor) -> Tensor:
        full = x.shape[-1]
        side = int(torch.randint(self.smallest, full + 1, ()))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
        left, top = (int(torch.randint(0, full - side + 1, ())) for _ in range(2))
        return functional.pad(small, (left, full - side - left, top, full - side - top))


def load(directory: Path) -> nn.Module:
    """The randomisation before the standard network."""
    return nn.Sequential(ResizePad(smallest=23), standard_network())
