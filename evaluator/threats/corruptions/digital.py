"""Digital processing: contrast, warping, resampling and compression."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.corruptions.kernels import gaussian_filter
from evaluator.threats.sampling import bilinear, pixel_grid


def contrast(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Pulls every channel towards its own mean."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1] + mean


def elastic(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A random affine map near the identity, then smooth random displacements; all lengths are shares of the side."""
    strength, smoothness, jitter = (
        (0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03),
    )[severity - 1]  # fmt: skip
    n, _, height, width = x.shape
    side = min(height, width)
    moved = (2 * draws.uniform(3, 2).double() - 1).cpu() * jitter * side
    row, column = (axis.to(torch.float64) for axis in pixel_grid(x))
    places = torch.stack([row.expand(n, -1, -1), column.expand(n, -1, -1)], dim=-1).cpu()
    places = _affine(places, moved, side)
    if strength:
        push = (2 * draws.uniform(2, height, width).double() - 1).cpu()
        places = places + (strength * side) * gaussian_filter(push, smoothness * side).permute(0, 2, 3, 1)
    places = places.to(x)
    return bilinear(x, places[..., 0], places[..., 1], border="edge")


def _affine(places: Tensor, moved: Tensor, side: int) -> Tensor:
    """The affine map (n, H, W, 2) that moves three points about the center by `moved` (n, 3, 2), in pixels."""
    middle, reach = side / 2, side / 3
    anchors = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64) * reach + middle
    ones = torch.ones(3, 1, dtype=torch.float64)
    solved = torch.linalg.solve(torch.cat([anchors, ones], dim=1), moved)
    slope_row, slope_column, shift = (solved[:, None, None, k] for k in range(3))
    result: Tensor = places + places[..., :1] * slope_row + places[..., 1:] * slope_column + shift
    return result


def pixelate(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Down to this share of the size and up again, by Pillow's box filter on 8-bit values."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]

    def coarse(image: Image.Image) -> Image.Image:
        small = (max(1, int(image.width * share)), max(1, int(image.height * share)))
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return torch.stack([_to_tensor(coarse(_to_image(image))) for image in x]).to(x) if len(x) else x


def jpeg(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Compression by Pillow's JPEG encoder at this quality, on 8-bit values."""
    quality = (80, 65, 58, 50, 40)[severity - 1]

    def compressed(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return torch.stack([_to_tensor(compressed(_to_image(image))) for image in x]).to(x) if len(x) else x


def _to_image(x: Tensor) -> Image.Image:
    """(C, H, W) in [0, 1] -> an 8-bit gray or RGB image."""
    values = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _to_tensor(image: Image.Image) -> Tensor:
    """An 8-bit image -> (C, H, W) in [0, 1]."""
    values = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
    return values[None] if values.dim() == 2 else values.permute(2, 0, 1)
