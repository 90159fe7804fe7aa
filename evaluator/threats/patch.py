"""A square patch: everything inside one square of the image may change, nothing outside.

Brown et al. 2017, "Adversarial Patch"; Karmon et al. 2018, "LaVAN" (localised and visible noise).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.base import Threat, check_epsilon, flat, per_example, rows, settled
from evaluator.threats.linf import Linf


@dataclass(frozen=True)
class Patch(Threat):
    """z equals x but inside one side x side square; points are images.

    location: (row, column) of the square's first pixel; None lets each example have its own, anywhere inside the image.
    The location then is part of the point, as the square that holds the changed pixels. epsilon: the largest change of a
    value, 1 (the default) for a patch of any content. distance is that change, infinite when no square holds it.
    """

    side: int
    epsilon: float = 1.0
    location: tuple[int, int] | None = None
    kind = "patch"
    search = "patch"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)
        if self.side < 1 or (self.location is not None and min(self.location) < 0):
            raise InputError("side must be at least 1 and the location not negative.", where="threat patch")

    def balls(self) -> list[tuple[float, float]]:
        return [(0.0, float(self.side**2))]

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Keeps the square whose loss would cost the most squared distance; of equal ones the first in reading order."""
        inside = self.distance(x, z) <= self.epsilon
        content = Linf(self.epsilon).project(x, z)
        if settled(inside):
            return content
        wide, to = x.double(), content.double()
        saved = ((to - wide) * ((z.double() - to) + (z.double() - wide))).sum(dim=1, keepdim=True)
        window = flat(functional.avg_pool2d(saved, self.side, stride=1)).argmax(dim=1)
        held = self._mask(x, window) | rows(inside, x)
        return torch.where(held, content, x)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Any square with equal probability, its content uniform in box and budget.

        Exactly uniform in the set when epsilon is 1 (below, near the walls, the squares' volumes differ).
        """
        down, across = self._windows(x)
        window = draws.integers(down * across, 1).squeeze(1)
        return torch.where(self._mask(x, window), Linf(self.epsilon).random_start(x, draws), x)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The steepest step in the largest change, on all pixels; keeping to a square is left to `project`.

        So an attack's square stays where its start put it, instead of jumping to wherever the gradient is large.
        """
        return gradient.sign() * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        changed = (z != x).any(dim=1)
        fits = self._extent(changed.any(dim=2), 0) & self._extent(changed.any(dim=1), 1)
        return torch.where(fits, flat(z.double() - x.double()).abs().amax(dim=1), torch.inf)

    def _extent(self, used: Tensor, axis: int) -> Tensor:
        """(n,) bool: the used rows (or columns) (n, size) lie within one square's (or the fixed square's) extent."""
        number = torch.arange(used.shape[1], device=used.device)
        first = torch.where(used, number, used.shape[1]).amin(dim=1)
        last = torch.where(used, number, -1).amax(dim=1)
        if self.location is None:
            return last - first < self.side
        start = self.location[axis]
        return (last < 0) | ((first >= start) & (last < start + self.side))

    def _windows(self, x: Tensor) -> tuple[int, int]:
        """How many squares fit down and across. Raises InputError when none does or the fixed one does not."""
        if x.dim() != 4 or min(x.shape[2:]) < self.side:
            raise InputError(f"a patch of side {self.side} does not fit images {tuple(x.shape)}.", where="threat patch")
        down, across = x.shape[2] - self.side + 1, x.shape[3] - self.side + 1
        if self.location is not None and (self.location[0] >= down or self.location[1] >= across):
            raise InputError(f"a patch at {self.location} leaves images {tuple(x.shape)}.", where="threat patch")
        return down, across

    def _mask(self, x: Tensor, window: Tensor) -> Tensor:
        """(n, 1, H, W) bool: the pixels of each example's square, given by its number in reading order."""
        _, across = self._windows(x)
        top, left = window // across, window % across
        if self.location is not None:
            top, left = torch.full_like(top, self.location[0]), torch.full_like(left, self.location[1])
        row = torch.arange(x.shape[2], device=x.device)[None, :] - top[:, None]
        column = torch.arange(x.shape[3], device=x.device)[None, :] - left[:, None]
        return (((row >= 0) & (row < self.side))[:, :, None] & ((column >= 0) & (column < self.side))[:, None, :])[:, None]
