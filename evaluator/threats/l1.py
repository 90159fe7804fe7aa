"""The L1 ball: the perturbation's absolute values sum to at most epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.balls import Ball, uniform_in_box
from evaluator.threats.base import by_rows, check_epsilon, flat, inward, per_example, row_sum, rows, settled
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class L1(Ball):
    """||z - x||_1 <= epsilon, z in the box.

    share: 0 puts a step's whole budget on the largest |gradient| coordinate, which is the steepest step of this norm.
    A share in (0, 1] divides it equally among that share of the coordinates (Tramer and Boneh 2019, "Adversarial
    Training and Robustness for Multiple Perturbations", sec. 2, SLIDE): less steep, but a step is not lost when one
    pixel is at its wall.
    """

    epsilon: float
    box: tuple[float, float] = (0.0, 1.0)
    share: float = 0.0
    kind = "l1"
    order = 1.0
    search = "l1"
    traits = frozenset({Trait.RESIZABLE, Trait.SPARSE, Trait.STAYS, Trait.FAINT})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)
        if not 0 <= self.share <= 1:
            raise InputError(f"share must lie in [0, 1], got {self.share}.", where="threat l1")

    @by_rows
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of ball and box together: x + sign(m) clip(|m| - threshold, 0, room) with m = z - x.

        room is what the box leaves in m's direction. Rounded to the nearest float32 where that stays within epsilon,
        otherwise every coordinate towards x.
        """
        clipped = z.clamp(*self.box)
        inside = self.distance(x, clipped) <= self.epsilon
        if settled(inside):
            return clipped
        low, high = self.box
        wide = x.double()
        move = z.double() - wide
        size, sign = move.abs(), move.sign()
        room = torch.maximum((high - wide) * sign, (low - wide) * sign)
        threshold = self._threshold(flat(size), flat(room))
        moved = sign * torch.minimum((size - rows(threshold, x)).clamp_min(0), room)
        point = (wide + moved).to(x.dtype).clamp(*self.box)
        fits = self.distance(x, point) <= self.epsilon
        if not settled(fits):
            tight = inward(x, moved, row_sum(flat(moved).abs()), self.epsilon).clamp(*self.box)
            point = torch.where(rows(fits, x), point, tight)
        return torch.where(rows(inside, x), clipped, point)

    def _threshold(self, size: Tensor, room: Tensor) -> Tensor:
        """(n,) the threshold at which sum_i clip(size_i - threshold, 0, room_i) falls to epsilon (0 if it starts below).

        The sum falls from threshold 0 on with slope -(number of coordinates strictly between their two knots). Coordinate
        i joins at size_i - min(size_i, room_i) and leaves at size_i. Sorting the knots gives the sum at each by one
        cumulative sum, and the threshold by one interpolation: exact, without iteration.
        """
        reach = torch.minimum(size, room)
        knots, order = torch.cat([size - reach, size], dim=1).sort(dim=1)
        count = (2 * (order < size.shape[1]).to(size.dtype) - 1).cumsum(dim=1)
        fallen = torch.zeros_like(knots)
        torch.cumsum(count[:, :-1] * knots.diff(dim=1), dim=1, out=fallen[:, 1:])
        excess = (row_sum(reach) - self.epsilon).clamp_min(0)[:, None]
        piece = (torch.searchsorted(fallen, excess) - 1).clamp(0, knots.shape[1] - 1)
        missing = excess - fallen.gather(1, piece)
        threshold = knots.gather(1, piece) + missing / count.gather(1, piece).clamp_min(1)
        return torch.where(excess > 0, threshold, 0.0).squeeze(1)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball (d of d + 1 normalised exponentials, signed), brought into the box as `uniform_in_box` states."""
        dimension = flat(x).shape[1]

        def ball() -> Tensor:
            exponentials = -torch.log1p(-draws.uniform(dimension + 1).double())
            total = row_sum(exponentials).clamp_min(1e-300)[:, None]
            return draws.signs(dimension).double() * exponentials[:, :-1] * (self.epsilon / total)

        return self.project(x, uniform_in_box(x, ball, self.box))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        wide = flat(gradient)
        count = max(1, round(self.share * wide.shape[1]))
        top = wide.abs().argmax(dim=1, keepdim=True) if count == 1 else wide.abs().topk(count, dim=1).indices
        signs = wide.gather(1, top).sign()
        signs = signs / signs.abs().sum(dim=1, keepdim=True).clamp_min(1)
        return torch.zeros_like(wide).scatter_(1, top, signs).reshape(gradient.shape) * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return row_sum(flat(z.double() - x.double()).abs())
