"""A test-time optimisation loop: the input is moved to raise the network's confidence before it is classified (the
anti-adversary of Alfarra et al. 2022, "Combating Adversaries with Anti-Adversaries")."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

STEPS, SIZE = 3, 0.1


class AntiAdversary(nn.Module):
    """x -> x + delta, delta by sign steps that lower the cross-entropy of the network's own prediction; detached from x."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        moved = x.detach()
        labels = self.network(moved).argmax(dim=1)
        for _ in range(STEPS):
            with torch.enable_grad():
                leaf = moved.detach().requires_grad_(True)
                loss = nn.functional.cross_entropy(self.network(leaf), labels, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, leaf)
            moved = (moved - SIZE * gradient.sign()).clamp(0, 1)
        return moved


def load(directory: Path) -> nn.Module:
    """The loop before the standard network."""
    network = standard_network()
    return nn.Sequential(AntiAdversary(network), network)
