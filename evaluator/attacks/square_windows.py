"""Where the Square attack starts and what it proposes: sign windows for Linf, mass-moving bumps for L2 (Andriushchenko et
al. 2020, sec. 3.3 and 3.4). Everything here is per example: one window each, from that example's own random numbers.

Inputs that are not images are taken as one row of pixels, (n, d) as (n, 1, 1, d) and (n, h, w) as (n, 1, h, w).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.rows import wide
from evaluator.draws import Draws
from evaluator.threats.base import Threat

_INWARD = 1 - 2.0**-17  # float32 rounding of x + delta must not push the L2 norm over epsilon
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

    def _window(self, numbers: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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

    def _side(self, share: float) -> int:
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
        side = max(self._side(share), 1)
        at = self._window(numbers[:, :2], min(side, h), min(side, w))
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


@dataclass(frozen=True)
class L2Search(WindowSearch):
    """Points of norm epsilon before the box cuts them; a proposal moves the mass of one window into another."""

    threat: Threat

    @property
    def numbers(self) -> int:
        return 4 + self.x.shape[1] + 1

    def first(self, draws: Draws) -> Tensor:
        """Five by five tiles, each the bump of `_bump` with one sign per channel."""
        _, channels, h, w = self.x.shape
        tall, broad = max(h // 5, 1), max(w // 5, 1)
        down, across = min(h // tall, 5), min(w // broad, 5)
        signs = 1 - 2 * (draws.uniform(channels, down, across) < 0.5).to(self.x.dtype)
        signs = signs.repeat_interleave(tall, dim=2).repeat_interleave(broad, dim=3)
        tiles = signs * _bump(tall, broad).to(self.x).repeat(down, across)
        delta = torch.zeros_like(self.x)
        top, left = (h - down * tall) // 2, (w - across * broad) // 2
        delta[:, :, top : top + down * tall, left : left + across * broad] = tiles
        return self._placed(delta)

    def propose(self, points: Tensor, numbers: Tensor, share: float) -> Tensor:
        """Window 2 is emptied; window 1 gets its own direction plus a bump, with the mass of both windows and whatever
        the box had cut off (algorithm 3)."""
        delta = points.reshape(self.x.shape) - self.x
        _, channels, h, w = self.x.shape
        side = max(self._side(share), 3) | 1  # odd, so that the bump has a center
        height, width = min(side, h), min(side, w)
        first = self._window(numbers[:, :2], height, width)
        second = self._window(numbers[:, 2:4], height, width)
        union = torch.zeros_like(delta)
        union[first] = delta[first]
        union[second] = delta[second]
        lost = (self.threat.epsilon**2 - delta.square().sum(dim=(1, 2, 3), keepdim=True)).clamp_min(0)
        mass = (union.square().sum(dim=(2, 3), keepdim=True) + lost / channels).sqrt()
        bump = torch.where(numbers[:, -1, None, None] < 0.5, _bump(height, width).to(delta), _bump(width, height).to(delta).mT)
        signs = 1 - 2 * (numbers[:, 4 : 4 + channels] < 0.5).to(delta.dtype)
        fresh = _unit(delta[first]) + signs[:, :, None, None] * bump[:, None]
        delta[second] = 0
        delta[first] = _unit(fresh) * mass
        return self._placed(delta)

    def __getitem__(self, keep: Tensor) -> L2Search:
        return L2Search(self.x[keep], self.shape, self.threat)

    def _placed(self, delta: Tensor) -> Tensor:
        """x + delta stretched to norm epsilon, cut by the box, as points."""
        norm = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
        points = self.x + delta * wide(self.threat.epsilon * _INWARD / norm, delta)
        return self.threat.project(self.x.reshape(-1, *self.shape), points.reshape(-1, *self.shape))


def linf_search(x: Tensor, threat: Threat) -> WindowSearch:
    """The search in a box threat: one that has `bounds(x)`."""
    images = _images(x)
    low, high = threat.bounds(x)  # type: ignore[attr-defined]
    return LinfSearch(images, x.shape[1:], low.reshape(images.shape), high.reshape(images.shape))


def l2_search(x: Tensor, threat: Threat) -> WindowSearch:
    """The search in an L2 ball."""
    return L2Search(_images(x), x.shape[1:], threat)


@functools.lru_cache(maxsize=256)
def _bump(height: int, width: int) -> Tensor:
    """(height, width) float32 of norm 1: two pyramids of opposite sign, upper half against lower half (eq. 2 and below)."""
    upper = max(height // 2, 1)
    bump = torch.cat([_pyramid(upper, width), -_pyramid(height - upper, width)])
    unit: Tensor = bump / bump.norm()
    return unit


def _pyramid(height: int, width: int) -> Tensor:
    """eta_{r,s} = sum over k = 0..M(r,s) of 1 / (n + 1 - k)^2, n half the longer side, M the rings left around the center."""
    rings = max(height, width) // 2
    rows = (torch.arange(1, height + 1) - height // 2 - 1).abs()
    columns = (torch.arange(1, width + 1) - width // 2 - 1).abs()
    inner = rings - torch.maximum(rows[:, None], columns[None, :])
    terms = 1.0 / (rings + 1 - torch.arange(rings + 1)).square()
    return terms.cumsum(0)[inner.clamp_min(0)] * (inner >= 0)


def _unit(windows: Tensor) -> Tensor:
    """Each channel of each window (n, c, h, w) scaled to norm 1."""
    norms: Tensor = windows.flatten(2).norm(dim=2)
    return windows / norms.clamp_min(1e-12)[:, :, None, None]


def _images(x: Tensor) -> Tensor:
    """x as (n, c, h, w)."""
    if x.dim() == 4:
        return x
    return x[:, None] if x.dim() == 3 else x.reshape(len(x), 1, 1, -1)
