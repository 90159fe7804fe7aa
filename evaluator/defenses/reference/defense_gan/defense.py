"""Projection onto the range of a generator (Defense-GAN, Samangouei et al. 2018): the nearest generated image is classified.

The generator here is the decoder of an autoencoder with 16 latent variables; the projection is gradient descent on the
latent from deterministic starts.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network, with_weights

LATENT, STEPS, RATE, STARTS = 16, 30, 0.15, 2


def generator() -> nn.Sequential:
    """(n, LATENT) -> (n, 1, 28, 28) in [0, 1]."""
    return nn.Sequential(
        nn.Linear(LATENT, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class Project(nn.Module):
    """x -> G(z*), z* = argmin ||G(z) - x||^2 over STARTS descents of STEPS steps with momentum."""

    starts: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("starts", torch.randn(STARTS, LATENT, generator=torch.Generator().manual_seed(0)) * 0.5)

    def forward(self, x: Tensor) -> Tensor:
        target, latent = x.detach(), self.starts.repeat(len(x), 1)
        wanted, velocity = target.repeat_interleave(STARTS, dim=0), torch.zeros_like(latent)
        for _ in range(STEPS):
            with torch.enable_grad():
                leaf = latent.detach().requires_grad_(True)
                loss = (self.network(leaf) - wanted).square().flatten(1).sum(dim=1)
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            velocity = 0.7 * velocity - RATE * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-6)
            latent = latent + velocity
        with torch.no_grad():
            images: Tensor = self.network(latent)
            errors = (images - wanted).square().flatten(1).sum(dim=1).reshape(len(x), STARTS)
            best = errors.argmin(dim=1) + torch.arange(len(x)) * STARTS
        return images[best]


def load(directory: Path) -> nn.Module:
    """The projection before the standard network."""
    return nn.Sequential(Project(with_weights(generator(), directory / "weights.safetensors")), standard_network())
