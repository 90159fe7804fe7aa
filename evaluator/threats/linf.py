"""The Linf ball: every pixel may move by at most epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.base import Threat, flat, per_example


@dataclass(frozen=True)
class Linf(Threat):
    """max_i |z_i - x_i| <= epsilon, z in [0, 1]."""

    epsilon: float
    kind = "linf"

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The set as a box: (lower, upper), float32, rounded inward so that float64 agrees it is within epsilon."""
        wide = x.double()
        lower, upper = (wide - self.epsilon).clamp_(0, 1), (wide + self.epsilon).clamp_(0, 1)
        low, high = lower.to(x.dtype), upper.to(x.dtype)
        one, zero = torch.ones_like(low), torch.zeros_like(high)
        low = torch.where(low.double() < lower, torch.nextafter(low, one), low)
        high = torch.where(high.double() > upper, torch.nextafter(high, zero), high)
        return low, high

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        low, high = self.bounds(x)
        return torch.minimum(torch.maximum(z, low), high)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        low, high = self.bounds(x)
        return self.project(x, low + (high - low) * draws.uniform(*x.shape[1:]))

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        return gradient.sign() * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return flat(z.double() - x.double()).abs().amax(dim=1)
