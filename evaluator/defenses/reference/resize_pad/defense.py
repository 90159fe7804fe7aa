"""Random resize and pad (Xie et al. 2018, "Mitigating Adversarial Effects Through Randomization")."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network

SIDE, SMALLEST = 28, 23


class ResizePad(nn.Module):
    """Shrinks the batch to a random side and puts it at a random place on black."""

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(SMALLEST, SIDE + 1, ()))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
        left, top = (int(torch.randint(0, SIDE - side + 1, ())) for _ in range(2))
        return functional.pad(small, (left, SIDE - side - left, top, SIDE - side - top))


def load(directory: Path) -> nn.Module:
    """The randomisation before the standard network."""
    return nn.Sequential(ResizePad(), standard_network())
