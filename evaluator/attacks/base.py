"""The attack protocol: a frozen dataclass of hyperparameters with one method that moves points of a threat.

`model` is any differentiable callable x -> logits; attacks that only need scores or labels never ask for a gradient.
The same attack runs on an in-process module and through the sandboxed proxy, metered or not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.threats.base import Threat

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """The examples under attack.

    x: (n, *shape) float32 clean inputs in [0, 1]; y: (n,) int64 true labels; draws: one random stream per example;
    target: (n,) int64 for targeted attacks, else None.
    """

    x: Tensor
    y: Tensor
    draws: Draws
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, keep: Tensor | slice) -> Batch:
        """A part of the examples, each with its own streams."""
        target = None if self.target is None else self.target[keep]
        return Batch(self.x[keep], self.y[keep], self.draws[keep], target)

    def fork(self, name: int | str) -> Batch:
        """The same examples with independent random streams (one per restart or sub-attack)."""
        return Batch(self.x, self.y, self.draws.fork(name), self.target)

    def success(self, logits: Tensor) -> Tensor:
        """(n,) bool: the adversary's goal is met. Untargeted: argmax != y; targeted: argmax == target."""
        labels = logits.argmax(dim=1)
        return labels != self.y if self.target is None else labels == self.target


class Attack(ABC):
    """Base of every attack. Subclasses are frozen dataclasses registered with `evaluator.attacks.registry.register`."""

    @abstractmethod
    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        """Returns one point of `threat` per example: an adversarial one where found, else the best candidate."""

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        seed: int = 0,
        ids: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """Attacks x (n, *shape) in [0, 1] with labels y (n,) within `threat`; returns points (for Lp balls: inputs).

        ids: (n,) stable example ids that key the randomness (default 0..n-1). Raises InputError on wrong input.
        """
        if x.dim() < 2 or len(x) != len(y):
            raise InputError(f"x {tuple(x.shape)} and y {tuple(y.shape)} do not fit.", help="Pass a batch and its labels.")
        if len(x) and not bool((x >= 0).logical_and(x <= 1).all()):
            raise InputError("inputs must lie in [0, 1] and be finite.", help="Put normalisation inside the model.")
        ids = torch.arange(len(x), device=x.device) if ids is None else ids.to(x.device)
        return self.run(model, Batch(x.detach(), y, Draws(seed, ids), target), threat)
