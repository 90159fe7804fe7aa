"""The L2 ball: the Euclidean norm of the perturbation over all pixels is at most epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.balls import uniform_in_box
from evaluator.threats.base import Threat, by_rows, check_epsilon, flat, inward, per_example, row_sum, rows, settled

_ROUNDS = 16


@dataclass(frozen=True)
class L2(Threat):
    """||z - x||_2 <= epsilon, z in the box."""

    epsilon: float
    box: tuple[float, float] = (0.0, 1.0)
    kind = "l2"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)

    @by_rows
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of ball and box together (not clip after scaling, which is farther away).

        By the KKT conditions it is clip(x + s (z - x)) for the s in [0, 1] that puts the norm at epsilon (`_scale`).
        Rounded to the nearest float32 where that stays within epsilon, otherwise every coordinate towards x.
        """
        low, high = self.box
        clipped = z.clamp(low, high)
        inside = self.distance(x, clipped) <= self.epsilon
        if settled(inside):
            return clipped
        move = z - x
        peak = flat(move).abs().amax(dim=1)
        unit = move / rows(torch.where(peak > 0, peak, 1.0), x)
        scale = self._scale(x, unit)
        point = (x + unit * rows(scale.to(x.dtype), x)).clamp(low, high)
        fits = self.distance(x, point) <= self.epsilon
        if not settled(fits):
            wide = x.double()
            moved = torch.minimum(torch.maximum(unit.double() * rows(scale, x), low - wide), high - wide)
            tight = inward(x, moved, row_sum(flat(moved).square()).sqrt(), self.epsilon).clamp(low, high)
            point = torch.where(rows(fits, x), point, tight)
        return torch.where(rows(inside, x), clipped, point)

    def _scale(self, x: Tensor, unit: Tensor) -> Tensor:
        """(n,) float64: the s with ||clip(x + s unit) - x|| = epsilon, for rows where that norm is exceeded at last.

        With t = s^2 the squared norm sum_i min(t u_i^2, room_i^2) is concave and piecewise linear, so Newton's method
        from the left never overshoots and ends on the right piece; without clipping its first step is the answer. The
        rounds are bounded, and a row that is not done after them keeps a smaller s: inside, though not the nearest.
        """
        low, high = self.box
        size, sign = flat(unit.abs()), unit.sign()
        room = flat(torch.maximum((high - x) * sign, (low - x) * sign))
        square, cap = size.square(), room.square()
        scale = self.epsilon / row_sum(square).double().sqrt()
        for _ in range(_ROUNDS):
            free = (size * scale.to(x.dtype)[:, None] < room).to(x.dtype)
            slope = row_sum(square * free).double()
            rest = self.epsilon**2 - row_sum(cap * (1 - free)).double()
            better = torch.maximum(scale, torch.where(slope > 0, (rest.clamp_min(0) / slope).sqrt(), scale))
            if settled(better == scale):
                break
            scale = better
        return scale

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball (direction normal, radius U^(1/d)), brought into the box as `uniform_in_box` states."""
        dimension = flat(x).shape[1]

        def ball() -> Tensor:
            direction = flat(draws.normal(dimension)).double()
            radius = self.epsilon * draws.uniform(1).double() ** (1.0 / dimension)
            return direction * radius / row_sum(direction.square()).sqrt().clamp_min(1e-300)[:, None]

        return self.project(x, uniform_in_box(x, ball, self.box))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        wide = flat(gradient)
        peak = wide.abs().amax(dim=1, keepdim=True)
        unit = wide / torch.where(peak > 0, peak, 1.0)
        norm = row_sum(unit.square()).sqrt().clamp_min(torch.finfo(gradient.dtype).tiny)
        return (unit / norm[:, None]).reshape(gradient.shape) * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return row_sum(flat(z.double() - x.double()).square()).sqrt()
