"""What several corruptions share: filters, streaks, zooms and plasma clouds, each row of a batch on its own."""

from __future__ import annotations

import scipy
import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.sampling import bilinear, pixel_grid


def gaussian_filter(x: Tensor, sigma: float) -> Tensor:
    """scipy's Gaussian filter over the last two dimensions, edges repeated."""
    depth = x.dim() - 2
    filtered = scipy.ndimage.gaussian_filter(x.cpu().numpy(), (0.0,) * depth + (sigma, sigma), mode="nearest")
    return torch.from_numpy(filtered).to(x)


def streaked(x: Tensor, angle: Tensor, *, radius: int, sigma: float) -> Tensor:
    """Motion blur: a one-sided Gaussian of `sigma` pixels over 2 radius + 1 taps along each image's angle (n,), degrees."""
    row, column = pixel_grid(x)
    radians = torch.deg2rad(angle.to(x.dtype))[:, None, None]
    offsets = torch.arange(2 * radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma).square())
    result = torch.zeros_like(x)
    for offset, weight in enumerate((weights / weights.sum()).tolist()):
        seen = bilinear(x, row + offset * radians.sin(), column + offset * radians.cos(), border="edge")
        result = result + weight * seen
    return result


def zoomed(x: Tensor, factor: float) -> Tensor:
    """Magnifies about the center by `factor` >= 1, bilinearly, at the same size."""
    row, column = pixel_grid(x)
    middle_row, middle_column = (x.shape[2] - 1) / 2, (x.shape[3] - 1) / 2
    row, column = (row - middle_row) / factor + middle_row, (column - middle_column) / factor + middle_column
    return bilinear(x, row.expand(len(x), -1, -1), column.expand(len(x), -1, -1), border="edge")


def plasma(draws: Draws, height: int, width: int, *, decay: float) -> Tensor:
    """(n, height, width) fractal cloud in [0, 1] by the diamond-square algorithm on a torus (Fournier et al. 1982).

    decay: larger is smoother; the random amplitude falls by decay^2 with every halving of the step.
    """
    size = 1 << (max(height, width) - 1).bit_length()
    cloud = torch.zeros(len(draws), size, size, dtype=torch.float64)
    step, amplitude = size, 1.0

    def wobbling(total: Tensor) -> Tensor:
        noise = 2 * draws.uniform(*total.shape[1:]).double().cpu() - 1
        return total / 4 + amplitude * noise

    while step >= 2:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        centers = wobbling(pairs + pairs.roll(-1, 2))
        cloud[:, half::step, half::step] = centers
        cloud[:, ::step, half::step] = wobbling(corners + corners.roll(-1, 2) + centers + centers.roll(1, 1))
        cloud[:, half::step, ::step] = wobbling(corners + corners.roll(-1, 1) + centers + centers.roll(1, 2))
        step, amplitude = half, amplitude / decay**2
    low, high = cloud.amin(dim=(1, 2), keepdim=True), cloud.amax(dim=(1, 2), keepdim=True)
    return ((cloud - low) / (high - low))[:, :height, :width]
