"""Where the Square attack starts and what it proposes under Linf: windows of signs (Andriushchenko et al. 2020, sec. 3.3).

Everything here is per example: one window each, from that example's own random numbers.

Inputs that are not images are taken as one row of pixels, (n, d) as (n, 1, 1, d) and (n, h, w) as (n, 1, h, w).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.base import Threat

_FLIP_BITS = 20  # channels beyond these are never flipped alone; uniforms carry 24 random bits


@dataclass(frozen=True)
class WindowSearch(ABC):
    """What one threat's search needs to know of the examples: x (n, c, h, w) and the original shape of one example."""

    x: Tensor
    shape: torch.Size

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many uniforms one proposal uses."""

    @abstractmethod
    def first(self, draws: Draws) -> Tensor:
        """The first points, (n, *shape)."""

    @abstractmethod
    def propose(self, points: Tensor, numbers: Tensor, share: float) -> Tensor:
        """New points (n, *shape): `points` with a window of about `share` of the image changed.

        numbers: (n, self.numbers) uniforms in [0, 1).
        """

    @abstractmethod
    def __getitem__(self, keep: Tensor) -> WindowSearch:
        """The search for a part of the examples."""

    def window(self, numbers: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Index of one height x width window per example, placed by numbers (n, 2): a view (n, c, height, width)."""
        n, channels, h, w = self.x.shape
        room = torch.tensor([h - height + 1, w - width + 1], dtype=numbers.dtype, device=numbers.device)
        corner = (numbers * room).long()
        grid = functools.partial(torch.arange, device=numbers.device)
        rows = corner[:, :1] + grid(height)
        columns = corner[:, 1:] + grid(width)
        return (
            grid(n)[:, None, None, None],
            grid(channels)[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        )

    def side(self, share: float) -> int:
        return round(math.sqrt(share * self.x.shape[2] * self.x.shape[3]))


@dataclass(frozen=True)
class LinfSearch(WindowSearch):
    """Points are corners of the box [low, high]: every pixel at -epsilon or +epsilon, cut by [0, 1]."""

    low: Tensor
    high: Tensor

    @property
    def numbers(self) -> int:
        return 2 + self.x.shape[1] + 1

    def first(self, draws: Draws) -> Tensor:
        """Vertical stripes one pixel wide, one sign per channel and column."""
        _, channels, _, width = self.x.shape
        up = draws.uniform(channels, 1, width) < 0.5
        return torch.where(up, self.high, self.low).reshape(-1, *self.shape)

    def propose(self, points: Tensor, numbers: Tensor, share: float) -> Tensor:
        """One window set to one sign per channel.

        A window that already has these signs would waste the query. So there the signs of a random non-empty set of
        channels are turned over: the paper's signs on condition that they change something.
        """
        candidate = points.reshape(self.x.shape).clone()
        _, channels, h, w = self.x.shape
        side = max(self.side(share), 1)
        at = self.window(numbers[:, :2], min(side, h), min(side, w))
        low, high = self.low[at], self.high[at]
        up = numbers[:, 2 : 2 + channels] < 0.5
        stale = (torch.where(up[:, :, None, None], high, low) == candidate[at]).flatten(1).all(dim=1)
        bits = min(channels, _FLIP_BITS)
        pattern = (numbers[:, -1:] * (2**bits - 1)).long() + 1
        turned = (pattern >> torch.arange(channels, device=pattern.device).clamp_max(_FLIP_BITS)) & 1
        up = up ^ (stale[:, None] & turned.bool())
        candidate[at] = torch.where(up[:, :, None, None], high, low)
        return candidate.reshape(points.shape)

    def __getitem__(self, keep: Tensor) -> LinfSearch:
        return LinfSearch(self.x[keep], self.shape, self.low[keep], self.high[keep])


def linf_search(x: Tensor, threat: Threat) -> WindowSearch:
    """The search in a box threat: one that has `bounds(x)`."""
    images = as_images(x)
    low, high = threat.bounds(x)  # type: ignore[attr-defined]
    return LinfSearch(images, x.shape[1:], low.reshape(images.shape), high.reshape(images.shape))


def as_images(x: Tensor) -> Tensor:
    """Inputs as (n, c, h, w)."""
    if x.dim() == 4:
        return x
    return x[:, None] if x.dim() == 3 else x.reshape(len(x), 1, 1, -1)
