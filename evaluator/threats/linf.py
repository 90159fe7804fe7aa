"""The Linf ball: every pixel may move by at most epsilon."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.balls import Ball
from evaluator.threats.base import Projector, by_rows, check_epsilon, flat, part_rows, per_example, pulled
from evaluator.threats.traits import Trait


class Bounds(Projector):
    """The set at x as a box, low <= z <= high: a projection is two comparisons."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self._low, self._high = low, high

    def __call__(self, z: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(z, self._low), self._high)

    def __getitem__(self, keep: Tensor | slice) -> Bounds:
        return Bounds(self._low[keep], self._high[keep])


@dataclass(frozen=True)
class Linf(Ball):
    """max_i |z_i - x_i| <= epsilon, z in the box."""

    epsilon: float
    box: tuple[float, float] = (0.0, 1.0)
    kind = "linf"
    order = math.inf
    search = "dense"
    traits = frozenset({Trait.RESIZABLE, Trait.PIXELWISE, Trait.DENSE, Trait.WHOLE, Trait.SETTLES, Trait.STAYS, Trait.FAINT})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The set as a box (lower, upper) of x's dtype: the outermost values whose float64 distance is within epsilon."""
        count = part_rows(x)
        if count < len(x):
            parts = [self.bounds(part) for part in x.split(count)]
            return torch.cat([low for low, _ in parts]), torch.cat([high for _, high in parts])
        wide, (lowest, highest) = x.double(), self.box
        low = (wide - self.epsilon).to(x.dtype).clamp_(lowest, highest)
        high = (wide + self.epsilon).to(x.dtype).clamp_(lowest, highest)
        return (
            pulled(low, x, wide - low.double() > self.epsilon),
            pulled(high, x, high.double() - wide > self.epsilon),
        )

    def fixed(self, x: Tensor) -> Bounds:
        return Bounds(*self.bounds(x))

    @by_rows
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return self.fixed(x)(z)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform in ball and box together (each coordinate on its interval, in steps of 2^-24 of it)."""
        low, high = self.bounds(x)
        return Bounds(low, high)(low + (high - low) * draws.uniform(*x.shape[1:]))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        return gradient.sign() * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return flat(z.double() - x.double()).abs().amax(dim=1)
