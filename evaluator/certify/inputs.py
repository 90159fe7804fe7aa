"""The set of inputs a bound speaks about, and the exact extremes of an affine function on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.errors import InputError

Norm = Literal["linf", "l2", "l1"]
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")


@dataclass(frozen=True, eq=False)
class InputSet:
    """All x' with ||x' - x|| <= epsilon in `norm`, intersected with the [0, 1] box.

    x: (n, *shape), float64 for certificates. For Linf the intersection is the box `lower`..`upper` and minima are exact.
    For L2 and L1 a minimum is the larger of that over the ball and that over the box, which is sound and not exact.
    """

    x: Tensor
    epsilon: float
    norm: Norm

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise InputError(f'no bound is known for the threat "{self.norm}".', help=f"Known: {', '.join(NORMS)}.")
        if not self.epsilon >= 0:
            raise InputError(f"epsilon must be at least 0, got {self.epsilon}.")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, keep: Tensor | slice) -> InputSet:
        return InputSet(self.x[keep], self.epsilon, self.norm)

    def to(self, dtype: torch.dtype) -> InputSet:
        """The same set in another dtype."""
        return InputSet(self.x.to(dtype), self.epsilon, self.norm)

    @property
    def lower(self) -> Tensor:
        """(n, *shape): the least value of each pixel."""
        return (self.x - self.epsilon).clamp_min(0)

    @property
    def upper(self) -> Tensor:
        """(n, *shape): the largest value of each pixel."""
        return (self.x + self.epsilon).clamp_max(1)

    def minimum(self, a: Tensor) -> Tensor:
        """(n, specs): a lower bound of min a . x' over the set, for a (n or 1, specs, *shape)."""
        flat = a.reshape(len(a), a.shape[1], -1)
        low, high = (bound.reshape(len(self), -1, 1) for bound in (self.lower, self.upper))
        box = (flat @ ((low + high) / 2) - flat.abs() @ ((high - low) / 2)).squeeze(2)
        if self.norm == "linf":
            return box
        centre = (flat @ self.x.reshape(len(self), -1, 1)).squeeze(2)
        return torch.maximum(box, centre - self.epsilon * self.dual(flat))

    def minimizer(self, a: Tensor) -> Tensor:
        """(n, specs, d): points whose product with a, (n or 1, specs, *shape), is `minimum`; its supergradients."""
        flat = a.reshape(len(a), a.shape[1], -1)
        low, high, x = (point.reshape(len(self), 1, -1) for point in (self.lower, self.upper, self.x))
        corner = torch.where(flat > 0, low, high)
        if self.norm == "linf":
            return corner
        if self.norm == "l2":
            steepest = flat / self.dual(flat).unsqueeze(-1)
        else:
            at = flat.abs().argmax(dim=-1, keepdim=True)
            steepest = torch.zeros_like(flat).scatter(-1, at, flat.gather(-1, at).sign())
        ball = x - self.epsilon * steepest
        ball_is_tighter = ((ball - corner) * flat).sum(dim=-1, keepdim=True) > 0
        return torch.where(ball_is_tighter, ball, corner)

    def contains(self, points: Tensor) -> Tensor:
        """(n,) which of the points (n, *shape) lie in the set, up to rounding."""
        moved = (points - self.x).flatten(1)
        order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[self.norm]
        near: Tensor = torch.linalg.vector_norm(moved, ord=order, dim=1) <= self.epsilon * (1 + 1e-6)
        pixels: Tensor = ((points >= -1e-6) & (points <= 1 + 1e-6)).flatten(1).all(dim=1)
        return near & pixels

    def dual(self, flat: Tensor) -> Tensor:
        """The dual norm of the last dimension: what a unit move in `norm` can change at most."""
        match self.norm:
            case "linf":
                return flat.abs().sum(dim=-1)
            case "l2":
                return (flat.square().sum(dim=-1) + 1e-30).sqrt()  # a hair above the norm: finite slope at 0
            case "l1":
                return flat.abs().amax(dim=-1)
