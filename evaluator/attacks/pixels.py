"""Images as rows of pixels, for attacks that choose single ones: (n, C, P), a pixel being all channels of one position."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

_CHANNELS = 3  # with more of them, the corners of the cube are too many to try


def pixels_first(x: Tensor) -> Tensor:
    """(n, C, *positions) -> (n, C, P); flat inputs (n, d) -> (n, 1, d)."""
    return x[:, None] if x.dim() == 2 else x.flatten(2)


def restored(pixels: Tensor, like: Tensor) -> Tensor:
    """(m, C, P) back in the shape of the inputs `like` (n, *shape)."""
    return pixels.reshape(len(pixels), *like.shape[1:])


def palette(channels: int, like: Tensor) -> Tensor:
    """(k, C) the corners of the color cube, black and white alone where there are more than 8."""
    if channels > _CHANNELS:
        return torch.stack([like.new_zeros(channels), like.new_ones(channels)])
    return like.new_tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
