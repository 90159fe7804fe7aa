"""The step of the Brendel-Bethge attack (Brendel et al. 2019, eq. 4), by convex duality."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.attacks.rows import wide
from evaluator.threats.base import flat

_FARTHEST = 18.0  # multipliers are searched for up to sinh of this, either way
_MULTIPLIERS, _AMBITIONS = 32, 8  # bisections of the multiplier, and of how much the distance counts
_SPARSEST = 32.0  # largest threshold of L1's step, as a multiple of the farthest pixel
_NEAR, _ROUNDED = 1e-2, 1e-3  # how far from the plane a step may end: shares of the gap and of the radius

Family = Callable[[Tensor, Tensor], Tensor]


def step_within(kind: str, back: Tensor, z: Tensor, normal: Tensor, gap: Tensor, radius: Tensor) -> Tensor:
    """(n, *shape) min over d of ||back - d||_p, where <normal, d> = gap (n,), ||d||_2 <= radius (n,) and z + d in [0, 1].

    back: x - z. Where the plane is out of reach, the farthest move towards it. By duality the step is a function of one
    multiplier of the plane, found by bisection, for each weight of the distance against the step's own length; the largest
    weight that stays in the region counts.
    """
    length = flat(normal).norm(dim=1)
    unit, gap = normal / wide(length.clamp_min(1e-20), normal), gap / length.clamp_min(1e-20)
    low, high = -z, 1 - z
    family = _family(kind, back, unit, low, high, radius)
    everywhere = torch.ones_like(gap)

    def solved(ambition: Tensor) -> tuple[Tensor, Tensor]:
        move = _on_plane(family, unit, gap, ambition)
        missed = (_dot(unit, move) - gap).abs() > _NEAR * gap.abs() + _ROUNDED * radius
        return move, ~missed & (flat(move).norm(dim=1) <= radius)

    best, fits = solved(0 * everywhere)
    best = torch.where(wide(fits, z), best, _towards(unit, gap, low, high, radius))
    least, most = 0 * everywhere, everywhere
    move, works = solved(most)
    best = torch.where(wide(works & fits, z), move, best)
    least = torch.where(works, most, least)
    for _ in range(_AMBITIONS):
        middle = (least + most) / 2
        move, works = solved(middle)
        works = works & fits
        best = torch.where(wide(works, z), move, best)
        least, most = torch.where(works, middle, least), torch.where(works, most, middle)
    return torch.where(wide(length > 0, z), best, torch.zeros_like(z))


def _family(kind: str, back: Tensor, unit: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Family:
    """(ambition (n,) in [0, 1], multiplier (n,)) -> the move; ambition 0 is the shortest one, 1 looks at the distance alone."""
    far = flat(back).abs().amax(dim=1) + radius

    def l2(ambition: Tensor, multiplier: Tensor) -> Tensor:
        return wide(ambition, back) * back + wide(multiplier, back) * unit

    def l1(ambition: Tensor, multiplier: Tensor) -> Tensor:
        ahead = wide(multiplier, back) * unit - back
        return back + (ahead.abs() - _SPARSEST * wide(far * ambition.square(), back)).clamp_min(0) * ahead.sign()

    def linf(ambition: Tensor, multiplier: Tensor) -> Tensor:
        room = wide((1 - ambition) * far, back)
        return torch.maximum(torch.minimum(wide(multiplier, back) * unit, back + room), back - room)

    inner = {"l2": l2, "l1": l1, "linf": linf}[kind]

    def clipped(ambition: Tensor, multiplier: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(inner(ambition, multiplier), high), low)

    return clipped


def _on_plane(family: Family, unit: Tensor, gap: Tensor, ambition: Tensor) -> Tensor:
    """The member whose <unit, move> is gap, which grows with the multiplier."""
    low = torch.full_like(gap, -_FARTHEST)
    high = -low
    for _ in range(_MULTIPLIERS):
        middle = (low + high) / 2
        short = _dot(unit, family(ambition, middle.sinh())) < gap
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return family(ambition, high.sinh())


def _towards(unit: Tensor, gap: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """The move of length `radius` at most that comes nearest to the plane: along its normal, cut by the box."""
    short, long = torch.zeros_like(gap), torch.full_like(gap, _FARTHEST)

    def move(size: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(wide(gap.sign() * size.sinh(), unit) * unit, high), low)

    for _ in range(_MULTIPLIERS):
        middle = (short + long) / 2
        fits = flat(move(middle)).norm(dim=1) <= radius
        short, long = torch.where(fits, middle, short), torch.where(fits, long, middle)
    return move(short)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (flat(a) * flat(b)).sum(dim=1)
