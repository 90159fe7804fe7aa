"""JPEG compression (Guo et al. 2018; Das et al. 2017): block cosine transform, quantisation of its coefficients, and back."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network

BLOCK = 8
STEP = 0.25  # of every coefficient, growing with frequency: about quality 25


class Compress(nn.Module):
    """(n, c, H, W) -> the same images after an 8 x 8 DCT whose coefficients were rounded; step: see STEP."""

    basis: Tensor
    steps: Tensor

    def __init__(self, step: float = STEP) -> None:
        super().__init__()
        k, i = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None, :]
        basis = torch.cos(math.pi * (2 * i + 1) * k / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis)
        self.register_buffer("steps", step * (1 + 0.5 * (k + i)))

    def forward(self, x: Tensor) -> Tensor:
        edge = -x.shape[-1] % BLOCK // 2
        padded = functional.pad(x, (edge, edge, edge, edge))
        blocks = padded.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
        coefficients = self.basis @ blocks @ self.basis.T
        kept = (coefficients / self.steps).round() * self.steps
        restored = self.basis.T @ kept @ self.basis
        image = restored.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
        return image[..., edge : edge + x.shape[-2], edge : edge + x.shape[-1]].clamp(0, 1)


def load(directory: Path) -> nn.Module:
    """The compression before the standard network."""
    return nn.Sequential(Compress(), standard_network())
