"""Stochastic activation pruning (Dhillon et al. 2018): each survives with probability by magnitude, reweighted."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import standard_network

SHARE = 0.25  # draws per activation


class Prune(nn.Module):
    """Draws r activations with replacement, p_i = |a_i| / sum |a|; keeps those drawn as a_i / (1 - (1 - p_i)^r)."""

    def forward(self, a: Tensor) -> Tensor:
        p = a.abs().flatten(1) / a.abs().flatten(1).sum(dim=1, keepdim=True).clamp_min(1e-12)
        draws = max(1, int(SHARE * p.shape[1]))
        survival = 1 - (1 - p) ** draws
        kept = (torch.rand_like(survival) < survival) / survival.clamp_min(1e-6)
        return a * kept.reshape(a.shape)


def load(directory: Path) -> nn.Module:
    """Pruning after every ReLU of the standard network."""
    layers: list[nn.Module] = []
    for layer in standard_network():
        layers += [layer, Prune()] if isinstance(layer, nn.ReLU) else [layer]
    return nn.Sequential(*layers)
