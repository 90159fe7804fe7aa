"""The L2 ball: the Euclidean norm of the perturbation over all pixels is at most epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.balls import Ball, uniform_in_box
from evaluator.threats.base import by_rows, check_epsilon, flat, inward, row_sum, rows, settled
from evaluator.threats.traits import Trait

_ROUNDS = 16
_MANY = 64
_DOUBT = 1e-5  # share by which a float32 sum of squares may be wrong, with room to spare
_CLOSE = 2e-7  # share of epsilon^2 that may be missing: what float32 tells apart
_ROUNDING = 1e-7  # six standard deviations of what rounding to float32 in [0, 1] adds to a norm


@dataclass(frozen=True)
class L2(Ball):
    """||z - x||_2 <= epsilon, z in the box."""

    epsilon: float
    box: tuple[float, float] = (0.0, 1.0)
    kind = "l2"
    order = 2.0
    search = "dense"
    traits = frozenset({Trait.RESIZABLE, Trait.DENSE, Trait.WHOLE, Trait.SETTLES, Trait.STAYS, Trait.FAINT})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)

    @by_rows
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of ball and box together (not clip after scaling, which is farther away).

        By the KKT conditions it is clip(x + s (z - x)) for the s in [0, 1] that puts the norm at epsilon (`_scaled`).
        Rounded to the nearest float32 where that stays within epsilon in float64, otherwise every coordinate towards x.
        """
        clipped = z.clamp(*self.box)
        inside = self._inside(x, clipped)
        if settled(inside):
            return clipped
        unit, square = _balanced(z - x)
        point, scale = self._scaled(x, unit, square)
        fits = inside | (self.distance(x, point) <= self.epsilon)
        if not settled(fits):
            low, high = self.box
            wide = x.double()
            moved = torch.minimum(torch.maximum(unit.double() * rows(scale, x), low - wide), high - wide)
            tight = inward(x, moved, row_sum(flat(moved).square()).sqrt(), self.epsilon).clamp(low, high)
            point = torch.where(rows(fits, x), point, tight)
        return point if settled(~inside) else torch.where(rows(inside, x), clipped, point)

    def _inside(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) bool: distance(x, z) <= epsilon. Summed in float64 only where float32 could be wrong about it."""
        square = row_sum(flat(z - x).square())
        sure = (square / self.epsilon**2 - 1).abs() > _DOUBT
        return square < self.epsilon**2 if settled(sure) else self.distance(x, z) <= self.epsilon

    def _scaled(self, x: Tensor, unit: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """(clip(x + s unit) with its norm at epsilon, s (n,) float64), for rows where that norm is exceeded at last.

        square: (n,) of `unit`. With t = s^2 the squared norm of the clipped move, sum_i min(t u_i^2, room_i^2), is concave
        and piecewise linear. So Newton's method from the left never overshoots and ends on the right piece. Without
        clipping its first step is the answer. In images the aim is below epsilon by what rounding adds, or every other
        point would be rounded beyond it. A few coordinates can often be met exactly. The rounds are bounded, and a row
        that is not done after them keeps a smaller s: inside, though not the nearest.
        """
        many = flat(unit).shape[1] > _MANY
        aim = max(self.epsilon - _ROUNDING, self.epsilon / 2) ** 2 if many else self.epsilon**2
        close = self.epsilon**2 * _CLOSE + 2 * self.epsilon * _ROUNDING
        scale = (aim / square.double()).sqrt()
        for _ in range(_ROUNDS):
            moved = torch.addcmul(x, unit, rows(scale.to(x.dtype), x))
            point = moved.clamp(*self.box)
            missing = aim - row_sum(flat(point - x).square()).double()
            done = missing <= close
            if settled(done):
                break
            slope = row_sum(flat((unit * (moved == point)).square_())).double()
            scale = torch.where(done | (slope == 0), scale, (scale.square() + missing / slope).sqrt())
        return point, scale

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball (direction normal, radius U^(1/d)), brought into the box as `uniform_in_box` states."""
        dimension = flat(x).shape[1]

        def ball() -> Tensor:
            direction = flat(draws.normal(dimension)).double()
            radius = self.epsilon * draws.uniform(1).double() ** (1.0 / dimension)
            return direction * radius / row_sum(direction.square()).sqrt().clamp_min(1e-300)[:, None]

        return self.project(x, uniform_in_box(x, ball, self.box))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        unit, square = _balanced(gradient)
        return unit * rows(size / torch.where(square > 0, square, 1.0).sqrt(), gradient)  # a zero gradient moves nothing

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return row_sum(flat(z.double() - x.double()).square()).sqrt()


def _balanced(move: Tensor) -> tuple[Tensor, Tensor]:
    """`move`, divided by its largest size in rows whose squares might leave float32, and its squared norm (n,)."""
    square = row_sum(flat(move).square())
    safe = (square > 1e-20) & (square < 1e20)
    if settled(safe):
        return move, square
    peak = flat(move).abs().amax(dim=1)
    unit = move / rows(torch.where(safe | (peak == 0), 1.0, peak), move)
    return unit, row_sum(flat(unit).square())
