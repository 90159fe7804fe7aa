"""A new kind of threat, as somebody would add it: one file, which its manifest class names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.threats.base import Threat, check_epsilon, per_example
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class Brightness(Threat):
    """A point is one number (n, 1) within +-epsilon, added to every pixel before the image is clipped to [0, 1]."""

    epsilon: float
    kind = "brightness"
    traits = frozenset({Trait.WHOLE})

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, kind=self.kind)

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 1)

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        return (x + z.reshape(-1, *[1] * (x.dim() - 1))).clamp(0, 1)

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return torch.clamp(z, -self.epsilon, self.epsilon)

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        return (self.epsilon * (2 * draws.uniform(1) - 1)).to(x.dtype)

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        return gradient.sign() * per_example(size, gradient)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        return z.double().abs().amax(dim=1)
