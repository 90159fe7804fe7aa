"""Images that nobody can have stored: the same pictures, moved a little by smooth maps that only the scorer could draw."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.draws import Draws

DEGREES, SCALE, SHEAR = 6.0, 0.05, 0.08  # at most, of the affine part
SHIFT, ELASTIC = 0.75, 0.6  # pixels at most, of the whole image and of the corners of a 4 x 4 grid
_GRID = 4


def deformed(x: Tensor, draws: Draws) -> Tensor:
    """x (n, C, H, W) in [0, 1], each image rotated, scaled, sheared, shifted and bent by too little to change its class."""
    count, _, height, width = x.shape
    dice = 2 * draws.uniform(6).to(x.device) - 1
    angle = dice[:, 0] * math.radians(DEGREES)
    across, down = (1 + SCALE * dice[:, column] for column in (1, 2))
    right, below = 2 * SHIFT * dice[:, 3] / width, 2 * SHIFT * dice[:, 4] / height
    rows = [across * angle.cos(), -angle.sin() + SHEAR * dice[:, 5], right, angle.sin(), down * angle.cos(), below]
    grid = functional.affine_grid(torch.stack(rows, dim=1).reshape(count, 2, 3), [count, 1, height, width], align_corners=False)
    size = 2 * ELASTIC / torch.tensor([width, height], device=x.device).reshape(1, 2, 1, 1)
    bends = (2 * draws.uniform(2, _GRID, _GRID).to(x.device) - 1) * size
    bent = functional.interpolate(bends, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return functional.grid_sample(x, grid + bent, mode="bilinear", align_corners=False).clamp(0, 1)
