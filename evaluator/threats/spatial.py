"""Spatial flow: every pixel is read from a displaced position (stAdv).

Xiao et al. 2018, "Spatially Transformed Adversarial Examples", sec. 3.2. The paper penalises rough flows; here the budget
is hard, and an attack may add the paper's flow loss on its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.base import Threat, check_epsilon
from evaluator.threats.l2 import L2
from evaluator.threats.sampling import Border, bilinear, pixel_grid
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class Spatial(Threat):
    """A point is a flow (n, 2, H, W) in pixels, (down, right); its norm is the largest Euclidean length of any pixel's.

    Output pixel (i, j) is the bilinear sample of x at (i, j) + flow. border: what is read beyond the image.
    """

    epsilon: float
    border: Border = "edge"
    kind = "spatial"
    traits = frozenset({Trait.WHOLE, Trait.STAYS, Trait.FAINT})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)

    def start(self, x: Tensor) -> Tensor:
        row, _ = pixel_grid(x)
        return x.new_zeros(len(x), 2, *row.shape[1:])

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Samples x along the flow; zero flow gives x bit for bit."""
        row, column = pixel_grid(x)
        return bilinear(x, row + z[:, 0], column + z[:, 1], border=self.border).clamp(0, 1)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Shortens each pixel's displacement that is longer than epsilon."""
        arrows = _arrows(z)
        return _field(self._disc.project(torch.zeros_like(arrows), arrows), z)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform: every pixel's displacement independently uniform in the disc."""
        height, width = x.shape[2:]
        radius = self.epsilon * draws.uniform(height, width).double().sqrt()
        angle = 2 * math.pi * draws.uniform(height, width).double()
        flow = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=1)
        return self.project(x, flow.to(x.dtype))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Every pixel moves by `size` along its own gradient."""
        arrows = _arrows(gradient)
        per_pixel = size.repeat_interleave(len(arrows) // max(len(size), 1)) if isinstance(size, Tensor) else size
        return _field(self._disc.steepest_step(arrows, per_pixel), gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        arrows = _arrows(z)
        lengths = self._disc.distance(torch.zeros_like(arrows), arrows)
        return lengths.reshape(len(z), z.shape[2] * z.shape[3]).amax(dim=1)

    @property
    def _disc(self) -> L2:
        """The set of one pixel's displacement; the box holds the disc and so cuts nothing off."""
        return L2(self.epsilon, box=(-2 * self.epsilon, 2 * self.epsilon))


def _arrows(field: Tensor) -> Tensor:
    """(n, 2, H, W) -> (n * H * W, 2)."""
    return field.permute(0, 2, 3, 1).reshape(-1, 2)


def _field(arrows: Tensor, like: Tensor) -> Tensor:
    """(n * H * W, 2) -> (n, 2, H, W)."""
    n, _, height, width = like.shape
    return arrows.reshape(n, height, width, 2).permute(0, 3, 1, 2).contiguous()
