"""A softmax saturated by scale on CIFAR-10: probabilities that are 0 and 1 in float32, whose gradient is exactly zero."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from evaluator.defenses.reference.base import cifar_network
from evaluator.defenses.reference.saturated_softmax.defense import Saturated


def load(directory: Path) -> nn.Module:
    """The standard network, answering saturated probabilities."""
    return nn.Sequential(cifar_network(), Saturated())
