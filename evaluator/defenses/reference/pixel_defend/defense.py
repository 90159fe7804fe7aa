"""Purification towards the training distribution (PixelDefend, Song et al. 2018): every pixel in turn becomes the level that an
autoregressive model finds most probable after the pixels before it, within PURIFY of the input's.

The model here sees the twelve nearest pixels above and to the left instead of all of them. Pixels that do not see one another
are purified side by side.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.reference.base import standard_network, with_weights

LEVELS, PURIFY, REACH = 16, 0.2, 2
_SEEN = [(row, column) for row in (-2, -1, 0) for column in range(-REACH, REACH + 1) if row < 0 or column < 0]


def pixel_model() -> nn.Sequential:
    """(n, 12) pixels before one -> logits (n, LEVELS) of its level."""
    return nn.Sequential(nn.Linear(len(_SEEN), 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, LEVELS))


def before(x: Tensor) -> Tensor:
    """(n, 1, h, w) -> (n, h, w, 12): what each pixel's model sees, zero outside the image."""
    padded = functional.pad(x[:, 0], (REACH, REACH, 2, 0))
    height, width = x.shape[2:]
    views = [padded[:, 2 + row : 2 + row + height, REACH + column : REACH + column + width] for row, column in _SEEN]
    return torch.stack(views, dim=3)


class PixelDefend(nn.Module):
    """(n, 1, h, w) in [0, 1] -> the same, purified greedily; no gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        centers = torch.arange(LEVELS, dtype=x.dtype, device=x.device) / (LEVELS - 1)
        canvas = functional.pad(x[:, 0], (REACH, REACH, 2, 0))
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        turn = columns + (REACH + 1) * rows  # a pixel's turn comes after those of all the pixels that it sees
        for now in range(int(turn.max()) + 1):
            r, c = (index + offset for index, offset in zip(torch.nonzero(turn == now, as_tuple=True), (2, REACH), strict=True))
            seen = torch.stack([canvas[:, r + row, c + column] for row, column in _SEEN], dim=2)
            given = canvas[:, r, c]
            far = (centers - given[..., None]).abs() > PURIFY
            chosen = self.network(seen).masked_fill(far, -torch.inf).argmax(dim=2)
            canvas[:, r, c] = centers[chosen]
        return canvas[:, None, 2:, REACH : REACH + width]


def load(directory: Path) -> nn.Module:
    """The purification before the standard network."""
    return nn.Sequential(PixelDefend(with_weights(pixel_model(), directory / "weights.safetensors")), standard_network())
