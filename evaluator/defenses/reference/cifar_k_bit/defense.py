"""Feature squeezing by bit depth (Xu et al. 2018) on CIFAR-10, where photographs need a bit more than digits."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from evaluator.defenses.reference.base import cifar_network
from evaluator.defenses.reference.k_bit.defense import Quantise


def load(directory: Path) -> nn.Module:
    """The quantiser before the standard network."""
    return nn.Sequential(Quantise(bits=3), cifar_network())
