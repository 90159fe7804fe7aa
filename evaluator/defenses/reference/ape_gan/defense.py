"""A generator that paints adversarial perturbations out of an image (Jin et al. 2019, "APE-GAN: Adversarial Perturbation
Elimination with GAN"). What it paints goes to the network as an 8-bit image; that rounding hides its gradient.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network, with_weights


def generator() -> nn.Sequential:
    """(n, 1, 28, 28) -> the same, through 32 channels of 7 x 7."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class EightBit(nn.Module):
    """Rounds to the 256 levels of an image file."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 255).round() / 255


def load(directory: Path) -> nn.Module:
    """The generator and the rounding before the standard network."""
    return nn.Sequential(with_weights(generator(), directory / "weights.safetensors"), EightBit(), standard_network())
