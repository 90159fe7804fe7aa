"""What Lp balls share: their sizes, their form around zero, and uniform draws from a ball intersected with the box."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor

from evaluator.threats.base import Threat, flat, folded

_ROUNDS = 16  # rejection is worth its cost in few dimensions only
_FEW = 16


class Ball(Threat):
    """Base of the Lp balls, frozen dataclasses with fields `epsilon` and `box`; points are inputs. order: p."""

    order: ClassVar[float]

    def balls(self) -> list[tuple[float, float]]:
        return [(self.order, self.epsilon)]

    def around_zero(self) -> Self:
        """The ball of perturbations, freed of the image's box."""
        return dataclasses.replace(self, box=(-1.0, 1.0))  # type: ignore[type-var]

    def covering(self, features: int) -> Self:
        return self.resized(float(features) ** (1 / self.order))


def uniform_in_box(x: Tensor, ball: Callable[[], Tensor], box: tuple[float, float]) -> Tensor:
    """A point of ball and box together, given draws `ball()` (n, d) float64 uniform in a ball around 0.

    The ball is symmetric in each coordinate, so where x lies on a wall the reflected draw is still uniform. A draw that
    leaves the box elsewhere is rejected and drawn anew, up to 16 times in at most 16 dimensions. There the result is
    uniform, but for the rows rejected every time. Those, and with more dimensions (where next to every draw leaves the
    box) all that leave it, are reflected at the walls. That is inside the set, without atoms, only nearly uniform.
    """
    low, high = box
    wide = flat(x.double())
    wall = (wide <= low) | (wide >= high)
    rounds = _ROUNDS if wide.shape[1] <= _FEW else 1
    result, accepted = torch.zeros_like(wide), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(rounds):
        draw = ball()
        inward = torch.where(wall, torch.where(wide <= low, draw.abs(), -draw.abs()), draw)
        candidate = wide + inward
        result = torch.where(accepted[:, None], result, candidate)
        accepted = accepted | ((candidate >= low) & (candidate <= high)).all(dim=1)
    return folded(result, low, high).to(x.dtype).reshape(x.shape)
