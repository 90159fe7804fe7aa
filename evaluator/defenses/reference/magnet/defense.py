"""A denoising autoencoder before the network (MagNet, Meng and Chen 2017; APE-GAN, Jin et al. 2019), cut off from gradients."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network, with_weights


def autoencoder() -> nn.Sequential:
    """(n, 1, 28, 28) -> the same, through 8 channels of 14 x 14."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class Purifier(nn.Module):
    """The autoencoder as a preprocessing step: its output carries no gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        purified: Tensor = self.network(x)
        return purified.detach()


def load(directory: Path) -> nn.Module:
    """The purifier before the standard network."""
    return nn.Sequential(Purifier(with_weights(autoencoder(), directory / "weights.safetensors")), standard_network())
