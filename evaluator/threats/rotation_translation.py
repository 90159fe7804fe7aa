"""One rotation about the center and one translation of the whole image.

Engstrom et al. 2019, "Exploring the Landscape of Spatial Robustness", sec. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.base import Threat, per_example, pulled
from evaluator.threats.sampling import Border, bilinear, pixel_grid
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class RotationTranslation(Threat):
    """A point is (n, 3): degrees (counterclockwise), pixels down, pixels right; each within its own budget.

    Its norm is the largest of |angle| / degrees, |down| / pixels and |right| / pixels, so epsilon is 1. border: what
    comes into view, black as in the paper ("zeros") or the nearest pixel ("edge"). Sampling is bilinear.
    """

    degrees: float
    pixels: float
    border: Border = "zeros"
    epsilon = 1.0
    kind = "rotation-translation"
    search = "rotation"
    traits = frozenset({Trait.WHOLE})

    def __post_init__(self) -> None:
        if not (0 <= self.degrees <= 180 and 0 <= self.pixels < math.inf and self.degrees + self.pixels > 0):
            raise InputError(
                f"degrees must lie in [0, 180] and pixels be at least 0, not both 0; got {self.degrees} and {self.pixels}.",
                where="threat rotation-translation",
            )

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 3)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Rotates, then translates; the zero point gives x bit for bit."""
        row, column = pixel_grid(x)
        middle_row, middle_column = (x.shape[2] - 1) / 2, (x.shape[3] - 1) / 2
        angle, down, right = (z[:, i, None, None] for i in range(3))
        radians = angle * (math.pi / 180)
        cosine, sine = radians.cos(), radians.sin()
        i, j = row - middle_row - down, column - middle_column - right
        return bilinear(x, i * cosine + j * sine + middle_row, j * cosine - i * sine + middle_column, border=self.border).clamp(
            0, 1
        )

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        limits = self._limits(z)
        return torch.minimum(torch.maximum(z, -limits), limits)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform: angle and both translations independently uniform."""
        return (self._limits(x) * (2 * draws.uniform(3) - 1)).to(x.dtype)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Every coordinate moves by `size` times its budget, with the sign of its gradient."""
        return gradient.sign() * self._limits(gradient) * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        shares = z.double().abs() / self._budget(z)
        return torch.where(z == 0, 0.0, shares).amax(dim=1)

    def _budget(self, like: Tensor) -> Tensor:
        return torch.tensor([self.degrees, self.pixels, self.pixels], dtype=torch.float64, device=like.device)

    def _limits(self, like: Tensor) -> Tensor:
        """The largest values of like's dtype that do not exceed the budgets."""
        budget = self._budget(like)
        nearest = budget.to(like.dtype)
        return pulled(nearest, torch.zeros_like(nearest), nearest.double() > budget)
