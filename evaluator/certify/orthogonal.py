"""Layers that are 1-Lipschitz by construction, for networks whose margin is a certificate at no cost.

Almost-orthogonal layers rescale their weight W to W D with d_j = (sum_i |W^T W|_ij)^(-1/2). Then ||W D||_2 <= 1, because
I - D W^T W D is positive semidefinite (its scaled form is diagonally dominant). Source: Prach and Lampert 2022,
"Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks", theorem 1. The activation sorts pairs of
channels (GroupSort 2, Anil et al. 2019), which keeps norms and gradients.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-6


class AOLLinear(nn.Module):
    """A dense layer with ||W||_2 <= 1. Input (n, in_features), output (n, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.orthogonal_(self.weight)

    def effective_weight(self) -> Tensor:
        """(out, in): the rescaled weight, of spectral norm at most 1."""
        gram = (self.weight.T @ self.weight).abs().sum(dim=0)
        return self.weight * (gram + _EPSILON).rsqrt()

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.effective_weight(), self.bias)


class AOLConv2d(nn.Module):
    """A convolution (stride 1, zero padding) with operator norm <= 1. Input (n, in_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__()
        self.padding = padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=1.0 / math.sqrt(in_channels * kernel_size**2))

    def effective_weight(self) -> Tensor:
        """(out, in, k, k): the rescaled kernel. W^T W of an unbounded image is the kernel's self-correlation."""
        kernel = self.weight.transpose(0, 1)
        correlation = functional.conv2d(kernel, kernel, padding=self.weight.shape[2] - 1)
        gram = correlation.abs().sum(dim=(1, 2, 3))
        return self.weight * (gram + _EPSILON).rsqrt().reshape(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.effective_weight(), self.bias, padding=self.padding)


class PairSort(nn.Module):
    """Sorts channel i against channel i + C/2: (max, min). C must be even."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)
