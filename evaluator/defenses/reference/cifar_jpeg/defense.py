"""JPEG compression (Guo et al. 2018) on CIFAR-10, each colour channel compressed by itself."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from evaluator.defenses.reference.base import cifar_network
from evaluator.defenses.reference.jpeg.defense import Compress


def load(directory: Path) -> nn.Module:
    """The compression before the standard network."""
    return nn.Sequential(Compress(step=0.06), cifar_network())
