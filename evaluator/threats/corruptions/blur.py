"""Blur of lenses, glass and motion."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.corruptions.kernels import gaussian_filter, streaked, zoomed


def defocus(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Convolution with a disc (radius in pixels), itself smoothed by a 3 x 3 Gaussian against aliasing."""
    radius, smoothing = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    i, j = np.mgrid[-3:4, -3:4]
    disc = ((i**2 + j**2) <= radius**2).astype(np.float64)
    kernel = scipy.ndimage.gaussian_filter(disc / disc.sum(), smoothing, radius=1, mode="constant")
    return torch.from_numpy(scipy.ndimage.correlate(x.cpu().numpy(), kernel[None, None], mode="mirror")).to(x)


def glass(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Frosted glass: slight blur, every inner pixel seen at a random neighbor's place (in rounds), slight blur.

    CIFAR-10-C's own script means to swap neighbors, but as numpy's rows are views it copies. So is it done here, as a true
    swap would carry pixels far along the scan and the severities were set without.
    """
    sigma, reach, rounds = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    height, width = x.shape[2:]
    seen = gaussian_filter(x, sigma)
    i = torch.arange(height, device=x.device)[:, None]
    j = torch.arange(width, device=x.device)[None, :]
    inner = (i >= reach) & (i < height - reach) & (j >= reach) & (j < width - reach)
    for _ in range(rounds):
        moves = (draws.integers(2 * reach, 2, height, width) - reach) * inner
        source = ((i + moves[:, 0]) * width + j + moves[:, 1]).flatten(1)[:, None]
        seen = seen.flatten(2).gather(2, source.expand(-1, x.shape[1], -1)).reshape(x.shape)
    return gaussian_filter(seen, sigma)


def motion(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A streak within 45 degrees of the horizontal."""
    radius, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    return streaked(x, 90 * draws.uniform(1).squeeze(1) - 45, radius=radius, sigma=sigma)


def zoom(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """The mean of the image and its magnifications in steps of one percent."""
    steps = (6, 11, 16, 21, 26)[severity - 1]
    total = x
    for step in range(steps):
        total = total + zoomed(x, 1 + step / 100)
    return total / (steps + 1)
