"""What the Square attack proposes under L2 and L1: bumps that take the mass of other windows (Andriushchenko et al. 2020, sec.
3.4; for L1 Croce and Hein 2021, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", sec. 5)."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evaluator.attacks.rows import wide
from evaluator.attacks.square_windows import WindowSearch, as_images
from evaluator.draws import Draws
from evaluator.threats.base import Threat

_INWARD = 1 - 2.0**-17  # float32 rounding of x + delta must not push the norm over epsilon


@dataclass(frozen=True)
class MassSearch(WindowSearch):
    """Points of norm epsilon before the box cuts them; a proposal moves the mass of one window into another.

    power: of the norm. decay: how fast a bump falls off from its center.
    """

    threat: Threat
    power: ClassVar[int]
    decay: ClassVar[int]

    @property
    def numbers(self) -> int:
        return 4 + self.x.shape[1] + 1

    @abstractmethod
    def raised(self, delta: Tensor) -> Tensor:
        """|delta|^power: what adds up over pixels."""

    @abstractmethod
    def mass(self, spent: Tensor, lost: Tensor) -> Tensor:
        """(n, c, 1, 1) norm of each channel of a new window: `spent` of both windows, `lost` of the whole point, raised."""

    @abstractmethod
    def placed(self, delta: Tensor) -> Tensor:
        """x + delta as points of the threat, with all of the budget used where the box lets them."""

    def first(self, draws: Draws) -> Tensor:
        """Five by five tiles, each a bump with one sign per channel."""
        _, channels, h, w = self.x.shape
        tall, broad = max(h // 5, 1), max(w // 5, 1)
        down, across = min(h // tall, 5), min(w // broad, 5)
        signs = 1 - 2 * (draws.uniform(channels, down, across) < 0.5).to(self.x.dtype)
        signs = signs.repeat_interleave(tall, dim=2).repeat_interleave(broad, dim=3)
        tiles = signs * self._bump(tall, broad).repeat(down, across)
        delta = torch.zeros_like(self.x)
        top, left = (h - down * tall) // 2, (w - across * broad) // 2
        delta[:, :, top : top + down * tall, left : left + across * broad] = tiles
        return self.placed(delta)

    def propose(self, points: Tensor, numbers: Tensor, share: float) -> Tensor:
        """Window 2 is emptied; window 1 gets its own direction plus a bump, with the mass of both windows and whatever
        the box had cut off (algorithm 3)."""
        delta = points.reshape(self.x.shape) - self.x
        _, channels, h, w = self.x.shape
        side = max(self.side(share), 3) | 1  # odd, so that the bump has a center
        height, width = min(side, h), min(side, w)
        first = self.window(numbers[:, :2], height, width)
        second = self.window(numbers[:, 2:4], height, width)
        union = torch.zeros_like(delta)
        union[first] = delta[first]
        union[second] = delta[second]
        spent = self.raised(union).sum(dim=(2, 3), keepdim=True)
        lost = (self.threat.epsilon**self.power - self.raised(delta).sum(dim=(1, 2, 3), keepdim=True)).clamp_min(0)
        bump = torch.where(numbers[:, -1, None, None] < 0.5, self._bump(height, width), self._bump(width, height).mT)
        signs = 1 - 2 * (numbers[:, 4 : 4 + channels] < 0.5).to(delta.dtype)
        fresh = self._unit(delta[first]) + signs[:, :, None, None] * bump[:, None]
        delta[second] = 0
        delta[first] = self._unit(fresh) * self.mass(spent, lost)
        return self.placed(delta)

    def _bump(self, height: int, width: int) -> Tensor:
        return _bump(height, width, self.power, self.decay).to(self.x)

    def _unit(self, windows: Tensor) -> Tensor:
        """Each channel of each window (n, c, h, w) scaled to norm 1."""
        norms: Tensor = windows.flatten(2).norm(p=self.power, dim=2)
        return windows / norms.clamp_min(1e-12)[:, :, None, None]


@dataclass(frozen=True)
class L2Search(MassSearch):
    """In an L2 ball: points are stretched to norm epsilon, then cut by the box."""

    power = 2
    decay = 2

    def raised(self, delta: Tensor) -> Tensor:
        return delta.square()

    def mass(self, spent: Tensor, lost: Tensor) -> Tensor:
        return (spent + lost / self.x.shape[1]).sqrt()

    def placed(self, delta: Tensor) -> Tensor:
        norm = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
        points = self.x + delta * wide(self.threat.epsilon * _INWARD / norm, delta)
        return self.threat.project(self.x.reshape(-1, *self.shape), points.reshape(-1, *self.shape))

    def __getitem__(self, keep: Tensor) -> L2Search:
        return L2Search(self.x[keep], self.shape, self.threat)


@dataclass(frozen=True)
class L1Search(MassSearch):
    """In an L1 ball: the nearest point of ball and box together, which keeps few pixels and spends what the box cut off."""

    power = 1
    decay = 4

    def raised(self, delta: Tensor) -> Tensor:
        return delta.abs()

    def mass(self, spent: Tensor, lost: Tensor) -> Tensor:
        return spent * self.x.shape[1] + lost

    def placed(self, delta: Tensor) -> Tensor:
        norm = delta.flatten(1).abs().sum(dim=1).clamp_min(1e-12)
        stretched = delta * wide((self.threat.epsilon / norm).clamp_min(1), delta)
        return self.threat.project(self.x.reshape(-1, *self.shape), (self.x + stretched).reshape(-1, *self.shape))

    def __getitem__(self, keep: Tensor) -> L1Search:
        return L1Search(self.x[keep], self.shape, self.threat)


def l2_search(x: Tensor, threat: Threat) -> WindowSearch:
    """The search in an L2 ball."""
    return L2Search(as_images(x), x.shape[1:], threat)


def l1_search(x: Tensor, threat: Threat) -> WindowSearch:
    """The search in an L1 ball."""
    return L1Search(as_images(x), x.shape[1:], threat)


@functools.lru_cache(maxsize=256)
def _bump(height: int, width: int, power: int, decay: int) -> Tensor:
    """(height, width) float32 of norm 1: two pyramids of opposite sign, upper half against lower half (eq. 2 and below)."""
    upper = max(height // 2, 1)
    bump = torch.cat([_pyramid(upper, width, decay), -_pyramid(height - upper, width, decay)])
    unit: Tensor = bump / bump.norm(p=power)
    return unit


def _pyramid(height: int, width: int, decay: int) -> Tensor:
    """eta_{r,s} = sum over k = 0..M(r,s) of 1 / (n + 1 - k)^decay, n half the longer side, M the rings left around the
    center."""
    rings = max(height, width) // 2
    rows = (torch.arange(1, height + 1) - height // 2 - 1).abs()
    columns = (torch.arange(1, width + 1) - width // 2 - 1).abs()
    inner = rings - torch.maximum(rows[:, None], columns[None, :])
    terms = 1.0 / (rings + 1 - torch.arange(rings + 1)).float().pow(decay)
    return terms.cumsum(0)[inner.clamp_min(0)] * (inner >= 0)
