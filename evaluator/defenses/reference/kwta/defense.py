"""k-winners-take-all (Xiao et al. 2020): only the largest activations of a layer pass, which is discontinuous everywhere."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from evaluator.defenses.reference.base import small_network, with_weights

SHARE = 0.1


class Winners(nn.Module):
    """Keeps the SHARE largest activations of each example, zeroes the rest."""

    def forward(self, a: Tensor) -> Tensor:
        flat = a.flatten(1)
        k = max(1, int(SHARE * flat.shape[1]))
        least = flat.topk(k, dim=1).values[:, -1:]
        return torch.where(flat >= least, flat, torch.zeros_like(flat)).reshape(a.shape)


def network() -> nn.Sequential:
    """The network without weights."""
    return small_network(activation=Winners)


def load(directory: Path) -> nn.Module:
    """With the trained weights."""
    return with_weights(network(), directory / "weights.safetensors")
