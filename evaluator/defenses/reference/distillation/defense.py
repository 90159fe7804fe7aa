"""Defensive distillation (Papernot et al. 2016): trained on the soft labels of a teacher at T = 100, deployed at T = 1."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from evaluator.defenses.reference.base import small_network, with_weights


def load(directory: Path) -> nn.Module:
    """The student, whose logits are a hundred times those of an ordinary network."""
    return with_weights(small_network(), directory / "weights.safetensors")
