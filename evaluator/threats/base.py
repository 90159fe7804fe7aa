"""The threat algebra: what a perturbation set must be able to do, so that one attack serves every threat.

A threat is a set P(x) of inputs together with a parametrisation: a *point* z describes a perturbation, `apply(x, z)`
renders it. For Lp balls the point is the adversarial input itself and `apply` the identity; for a flow field or a colour
map it is the field or map. Attacks move points and claims are points: the scorer checks `contains(x, z)` in float64 and
classifies `apply(x, z)`. All batches are NCHW (any trailing shape works), float32, in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from evaluator.draws import Draws

SLACK = 1e-6  # claims may exceed the budget by this much (float32 rounding of third-party attacks); ours never do


class Threat(ABC):
    """A perturbation set P(x) inside the [0, 1] box. Instances are frozen dataclasses with an `epsilon`."""

    kind: str
    epsilon: float

    def start(self, x: Tensor) -> Tensor:
        """The point of no perturbation: apply(x, start(x)) == x."""
        return x.clone()

    def apply(self, x: Tensor, z: Tensor) -> Tensor:
        """Renders points z at x: (n, *shape) in [0, 1], differentiable in z."""
        return z

    @abstractmethod
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest point of the set; inside in float64 too, bit for bit idempotent."""

    @abstractmethod
    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """A point drawn uniformly from the set (not merely from its boundary)."""

    @abstractmethod
    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The move of norm `size` (in this threat's own norm) with the largest inner product with `gradient`.

        size: a float or an (n,) tensor. A zero gradient gives a zero move, never NaN.
        """

    @abstractmethod
    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) float64: how far z is from no perturbation, in the units of epsilon."""

    def contains(self, x: Tensor, z: Tensor, *, slack: float = SLACK) -> Tensor:
        """(n,) bool, in float64: finite, within epsilon + slack, and rendered inside [0, 1] exactly."""
        rendered = self.apply(x, z)
        inside = flat((rendered >= 0) & (rendered <= 1)).all(dim=1)
        finite = flat(torch.isfinite(z)).all(dim=1)
        return finite & inside & (self.distance(x, z) <= self.epsilon + slack)


def flat(t: Tensor) -> Tensor:
    """(n, *shape) -> (n, d)."""
    return t.reshape(len(t), -1)


def per_example(values: float | Tensor, like: Tensor) -> float | Tensor:
    """A float, or an (n,) tensor shaped to broadcast over `like`'s (n, *shape)."""
    return values.reshape(-1, *[1] * (like.dim() - 1)) if isinstance(values, Tensor) else values
