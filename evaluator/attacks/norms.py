"""Norms for attacks that look for the smallest perturbation, where the radius differs from example to example.

Each norm measures (`size`), knows its dual (the size of a gradient that bounds progress per unit of movement), projects on
a ball of given radii, and finds the smallest move inside the [0, 1] box that reaches a hyperplane. Perturbations and
gradients are (n, *shape) float32; sizes are (n,) float32. An L0 size counts pixels: all channels of one position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from evaluator.attacks.rows import wide
from evaluator.threats.base import flat

_TINY = 1e-12
_ROUNDS = 64
_CONVERGED = 1e-6


class Norm(ABC):
    """What a minimal-norm attack needs to know of its norm.

    reach: the first step of attacks that normalise the gradient. whole: sizes are whole numbers (L0).
    """

    kind: str
    reach: float = 1.0
    whole: bool = False

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation."""

    @abstractmethod
    def dual(self, gradient: Tensor) -> Tensor:
        """The dual norm: the largest <gradient, move> over moves of size 1."""

    @abstractmethod
    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """The nearest perturbation (Euclidean) of size at most `radius` (n,); the box is not looked at."""

    def to_hyperplane(self, z: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The smallest move r with <normal, r> = gap (n,) and z + r in [0, 1]; the farthest one where none reaches it."""
        direction = normal.sign() * wide(gap.sign(), normal)
        room = flat(torch.where(direction > 0, 1 - z, z).clamp_min(0))
        move = self._fill(flat(normal).abs(), room, gap.abs())
        return move.reshape(z.shape) * direction

    def _fill(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        """(n, d) smallest non-negative moves below `room` whose weighted sum is `need`."""
        raise NotImplementedError(f"no hyperplane projection in {self.kind}")


class _Linf(Norm):
    kind, reach = "linf", 10.0

    def size(self, delta: Tensor) -> Tensor:
        return flat(delta).abs().amax(dim=1)

    def dual(self, gradient: Tensor) -> Tensor:
        return flat(gradient).abs().sum(dim=1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        limit = wide(radius, delta)
        return torch.maximum(torch.minimum(delta, limit), -limit)

    def _fill(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        level = _water_level(weight, room, need)
        return torch.minimum(room, level)


class _L2(Norm):
    kind = "l2"

    def size(self, delta: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(flat(delta), dim=1)
        return size

    def dual(self, gradient: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(flat(gradient), dim=1)
        return size

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        return delta * wide((radius / self.size(delta).clamp_min(_TINY)).clamp_max(1), delta)

    def _fill(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        scale = weight.amax(dim=1, keepdim=True).clamp_min(_TINY)
        unit = weight / scale
        level = _water_level(unit * unit, room / unit.clamp_min(_TINY), need / scale.squeeze(1))
        return torch.minimum(room, level * unit)


class _L1(Norm):
    kind = "l1"

    def size(self, delta: Tensor) -> Tensor:
        return flat(delta).abs().sum(dim=1)

    def dual(self, gradient: Tensor) -> Tensor:
        return flat(gradient).abs().amax(dim=1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Soft thresholding, with the threshold from the sorted magnitudes (Duchi et al. 2008)."""
        magnitude = flat(delta).abs()
        ordered = magnitude.sort(dim=1, descending=True).values
        surplus = (ordered.cumsum(dim=1) - radius[:, None]) / torch.arange(1, magnitude.shape[1] + 1, device=delta.device)
        count = (ordered > surplus).sum(dim=1, keepdim=True).clamp_min(1)
        threshold = surplus.gather(1, count - 1).clamp_min(0)
        inside = magnitude.sum(dim=1, keepdim=True) <= radius[:, None]
        kept = torch.where(inside, magnitude, (magnitude - threshold).clamp_min(0))
        return kept.reshape(delta.shape) * delta.sign()

    def _fill(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        """Spends the room of the heaviest coordinates first; the last one in part."""
        order = weight.argsort(dim=1, descending=True, stable=True)
        heavy, space = weight.gather(1, order), room.gather(1, order)
        before = (heavy * space).cumsum(dim=1) - heavy * space
        moves = ((need[:, None] - before) / heavy.clamp_min(_TINY)).clamp_min(0)
        moves = torch.minimum(moves, space) * (heavy > 0)
        return torch.zeros_like(weight).scatter(1, order, moves)


class _L0(Norm):
    kind, whole = "l0", True

    def size(self, delta: Tensor) -> Tensor:
        return flat(_pixels(delta) > 0).sum(dim=1).to(delta.dtype)

    def dual(self, gradient: Tensor) -> Tensor:
        return flat(_pixels(gradient)).amax(dim=1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Keeps the floor(radius) pixels with the largest perturbation (Euclidean over channels)."""
        magnitude = _pixels(delta)
        place = flat(magnitude).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return delta * (place < radius.floor()[:, None]).reshape(magnitude.shape)


def _pixels(delta: Tensor) -> Tensor:
    """(n, 1, *positions): the Euclidean norm over channels; without positions every entry is a pixel."""
    return torch.linalg.vector_norm(delta, dim=1, keepdim=True) if delta.dim() > 2 else delta.abs()


def _water_level(weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """(n, 1) the level t with sum_i weight_i * min(t, room_i) = need, or above all rooms where there is none.

    The sum is concave and piecewise linear in t, so Newton from 0 approaches from below and ends on the right piece.
    """
    level = torch.zeros_like(need)[:, None]
    for _ in range(_ROUNDS):
        free = weight * (room > level)
        missing = need[:, None] - (weight * torch.minimum(room, level)).sum(dim=1, keepdim=True)
        slope = free.sum(dim=1, keepdim=True)
        step = torch.where(slope > 0, missing / slope.clamp_min(_TINY), torch.zeros_like(level))
        step = torch.where(step > _CONVERGED * level, step, torch.zeros_like(step))
        if not bool((step > 0).any()):
            break
        level = level + step
    return level


NORMS: dict[str, Norm] = {norm.kind: norm for norm in (_Linf(), _L2(), _L1(), _L0())}
