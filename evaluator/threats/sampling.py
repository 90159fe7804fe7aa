"""Bilinear sampling of images at pixel coordinates, exact where the coordinates are whole numbers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.errors import InputError

Border = Literal["zeros", "edge"]


def bilinear(images: Tensor, row: Tensor, column: Tensor, *, border: Border) -> Tensor:
    """Reads images (n, C, H, W) at positions row, column (n, h, w) in pixels; returns (n, C, h, w).

    (0, 0) is the center of the first pixel. border: what lies outside, black ("zeros") or the nearest pixel ("edge").
    Differentiable in all three. torch's grid_sample is not used: its normalised coordinates do not survive the round
    trip. So zero flow would not be the identity. A coordinate that is not finite gives NaN and never an error.
    """
    if border == "zeros":
        images, row, column = functional.pad(images, (1, 1, 1, 1)), row + 1, column + 1
    n, channels, height, width = images.shape
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    top, left = _cell(row, height), _cell(column, width)
    down, right = (row - top).flatten(1)[:, None], (column - left).flatten(1)[:, None]
    pixels = images.flatten(2)

    def at(i: Tensor, j: Tensor) -> Tensor:
        index = (i * width + j).flatten(1)[:, None].expand(n, channels, -1)
        return pixels.gather(2, index)

    below, beside = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    upper = at(top, left) * (1 - right) + at(top, beside) * right
    lower = at(below, left) * (1 - right) + at(below, beside) * right
    return (upper * (1 - down) + lower * down).reshape(n, channels, *row.shape[1:])


def pixel_grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column numbers of every pixel, each (1, H, W), in the images' dtype. Raises InputError unless NCHW."""
    if images.dim() != 4:
        raise InputError(
            f"images must be (n, C, H, W), got {tuple(images.shape)}.", help="This threat moves pixels in a plane."
        )
    height, width = images.shape[2:]
    row = torch.arange(height, dtype=images.dtype, device=images.device)
    column = torch.arange(width, dtype=images.dtype, device=images.device)
    return row[None, :, None].expand(1, height, width), column[None, None, :].expand(1, height, width)


def _cell(position: Tensor, size: int) -> Tensor:
    """The pixel at or before each position, never the last one, so that the last one is reached with weight exactly 1."""
    return position.detach().floor().long().clamp(0, max(size - 2, 0))
