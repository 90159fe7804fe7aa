"""The L2 ball: the Euclidean norm of the perturbation over all pixels is at most epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.base import Threat, flat, per_example

_ROUNDS = 60


@dataclass(frozen=True)
class L2(Threat):
    """||z - x||_2 <= epsilon, z in [0, 1]."""

    epsilon: float
    kind = "l2"

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of ball and box together (not clip after scaling, which is farther away).

        By the KKT conditions it is clip(x + (z - x) * s, 0, 1) for the largest s in [0, 1] that keeps the norm within
        epsilon; the norm grows with s, so bisection finds s. The lower end of the bracket is used: always inside.
        """
        inside = self._norm(x, z.clamp(0, 1)) <= self.epsilon
        if bool(inside.all()):
            return z.clamp(0, 1)
        move = z - x
        low, high = torch.zeros(len(x), dtype=x.dtype, device=x.device), torch.ones(len(x), dtype=x.dtype, device=x.device)
        for _ in range(_ROUNDS):
            middle = (low + high) / 2
            fits = self._norm(x, (x + move * per_example(middle, x)).clamp(0, 1)) <= self.epsilon
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        shrunk = (x + move * per_example(low, x)).clamp(0, 1)
        return torch.where(per_example(inside, x), z.clamp(0, 1), shrunk)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in the ball (direction normal, radius U^(1/d)), then projected on the box."""
        direction = draws.normal(*x.shape[1:])
        norm = flat(direction).norm(dim=1).clamp_min(1e-12)
        radius = self.epsilon * draws.uniform(1).squeeze(1) ** (1.0 / flat(x).shape[1])
        return self.project(x, x + direction * per_example(radius / norm, x))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        wide = flat(gradient)
        scale = wide.abs().amax(dim=1, keepdim=True)
        unit = wide / torch.where(scale > 0, scale, 1.0)
        unit = unit / unit.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return unit.reshape(gradient.shape) * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return self._norm(x, z)

    @staticmethod
    def _norm(x: Tensor, z: Tensor) -> Tensor:
        return flat(z.double() - x.double()).norm(dim=1)
