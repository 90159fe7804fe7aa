"""Random resize and pad (Xie et al. 2018) on CIFAR-10."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from evaluator.defenses.reference.base import cifar_network
from evaluator.defenses.reference.resize_pad.defense import ResizePad


def load(directory: Path) -> nn.Module:
    """The randomisation before the standard network."""
    return nn.Sequential(ResizePad(smallest=28), cifar_network())
