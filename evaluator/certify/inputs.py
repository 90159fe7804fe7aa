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

    x: (n, *shape), float64 for certificates. For Linf the intersection is the box `lower`..`upper` and minima are exact;
    for L2 and L1 a minimum is the larger of that over the ball and that over the box, which is sound and not exact.
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

    def dual(self, flat: Tensor) -> Tensor:
        """The dual norm of the last dimension: what a unit move in `norm` can change at most."""
        match self.norm:
            case "linf":
                return flat.abs().sum(dim=-1)
            case "l2":
                return (flat.square().sum(dim=-1) + 1e-30).sqrt()  # a hair above the norm: finite slope at 0
            case "l1":
                return flat.abs().amax(dim=-1)
