"""The L0 ball: at most epsilon pixels change, each by anything. A pixel is all channels of one position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.balls import Ball
from evaluator.threats.base import by_rows, check_epsilon, per_example


@dataclass(frozen=True)
class L0(Ball):
    """Number of pixels where z differs from x <= epsilon, z in the box.

    epsilon: a whole number of pixels. Inputs (n, C, *positions) have channels on dimension 1; in inputs (n, d) every
    coordinate is a pixel.
    """

    epsilon: int
    box: tuple[float, float] = (0.0, 1.0)
    kind = "l0"
    order = 0.0
    search = "l0"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)
        if self.epsilon != int(self.epsilon):
            raise InputError(f"epsilon must be a whole number of pixels, got {self.epsilon}.", where="threat l0")

    @by_rows
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Keeps the (clipped) pixels whose loss would cost the most squared distance; ties go to the first pixel.

        Keeping pixel p instead of restoring it saves sum_c (z - x)^2 - (z - clip(z))^2.
        """
        clipped = z.clamp(*self.box)
        wide, to = x.double(), clipped.double()
        saved = _pixels((to - wide) * ((z.double() - to) + (z.double() - wide))).sum(dim=1)
        return torch.where(self._first(saved, like=x), clipped, x)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Exactly uniform: epsilon pixels chosen uniformly, their values uniform in the box (almost surely all change)."""
        low, high = self.box
        chosen = self._first(draws.uniform(_pixels(x).shape[2]).double() + 1, like=x)
        return torch.where(chosen, low + (high - low) * draws.uniform(*x.shape[1:]).to(x.dtype), x)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Moves the ceil(size) pixels with the largest L1 norm of the gradient, each channel by a whole unit, +-1.

        The largest inner product among moves of at most that many pixels with every coordinate in [-1, 1] (an L0 norm
        alone bounds no inner product). One unit takes any pixel to a wall of the [0, 1] box.
        """
        chosen = self._first(_pixels(gradient.double().abs()).sum(dim=1), like=gradient, size=size)
        return torch.where(chosen, gradient.sign(), 0.0)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) float64: the number of changed pixels."""
        return _pixels(z != x).any(dim=1).sum(dim=1).double()

    def _first(self, score: Tensor, *, like: Tensor, size: float | Tensor | None = None) -> Tensor:
        """Mask, broadcastable to `like`, of the `size` (default epsilon) pixels with the largest positive score (n, pixels)."""
        order = score.argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=score.device).expand_as(order))
        limit = per_example(float(self.epsilon) if size is None else size, score)
        chosen = (rank < limit) & (score > 0)
        return chosen if like.dim() == 2 else chosen.reshape(len(like), 1, *like.shape[2:])


def _pixels(t: Tensor) -> Tensor:
    """(n, d) -> (n, 1, d); (n, C, *positions) -> (n, C, pixels)."""
    return t[:, None] if t.dim() == 2 else t.flatten(2)
