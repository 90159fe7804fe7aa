"""The attack protocol: a frozen dataclass of hyperparameters with one method that moves points of a threat.

`model` is any differentiable callable x -> logits; attacks that only need scores or labels never ask for a gradient.
The same attack runs on an in-process module and through the sandboxed proxy, metered or not.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.models.asked import Asked
from evaluator.models.evidence import Evidence
from evaluator.models.reading import ARGMAX, Reading
from evaluator.threats.base import Threat
from evaluator.wanted import Wanted

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """The examples under attack.

    x: (n, *shape) float32 clean inputs in [0, 1]; y: (n,) int64 true labels; draws: one random stream per example;
    target: (n,) int64 the class that a targeted attack must reach, else None; aim: (n,) int64 a class that losses steer
    towards while any wrong label still counts as success (APGD-T, FAB-T, MultiTargeted), else None. reading: how
    answers are read; an input that is refused is no success. evidence: where all successes are noted, under the
    examples' numbers there, `rows` (n,) int64; asked: where all rows are counted, under the same numbers.
    """

    x: Tensor
    y: Tensor
    draws: Draws
    target: Tensor | None = None
    aim: Tensor | None = None
    reading: Reading = ARGMAX
    evidence: Evidence | None = None
    rows: Tensor | None = None
    asked: Asked | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, keep: Tensor | slice) -> Batch:
        """A part of the examples, each with its own streams."""
        target = None if self.target is None else self.target[keep]
        aim = None if self.aim is None else self.aim[keep]
        rows = None if self.rows is None else self.rows[keep]
        return Batch(self.x[keep], self.y[keep], self.draws[keep], target, aim, self.reading, self.evidence, rows, self.asked)

    def fork(self, name: int | str) -> Batch:
        """The same examples with independent random streams (one per restart or sub-attack)."""
        return dataclasses.replace(self, draws=self.draws.fork(name))

    def aimed(self, classes: Tensor) -> Batch:
        """The same examples, steered towards `classes` (n,); what counts as success does not change."""
        return dataclasses.replace(self, aim=classes)

    def noting(self, evidence: Evidence) -> Batch:
        """The same examples, all of those that `evidence` is about, whose successes are noted there."""
        return dataclasses.replace(self, evidence=evidence, rows=torch.arange(len(self), device=self.x.device))

    def counting(self, asked: Asked) -> Batch:
        """The same examples, all of those that `asked` is about, whose rows are counted there."""
        return dataclasses.replace(self, asked=asked, rows=torch.arange(len(self), device=self.x.device))

    def count(self, points: Tensor, success: Tensor) -> None:
        """Counts one row for each of the `points` (n, ...), if anybody wants to know. success: (n,) bool."""
        if self.asked is not None and self.rows is not None:
            self.asked.count(self.rows, points, success)

    def note(self, points: Tensor, success: Tensor) -> None:
        """Notes the `points` (n, ...) where `success` (n,) bool, if anybody wants to know."""
        if self.evidence is not None and self.rows is not None and bool(success.any()):
            self.evidence.offer(self.rows[success], points[success])

    def success(self, logits: Tensor) -> Tensor:
        """(n,) bool: the adversary's goal is met. Untargeted: argmax != y; targeted: argmax == target; never where refused."""
        return self.wanted.met(self.reading.labels(logits))

    @property
    def wanted(self) -> Wanted:
        """What the adversary wants of the answers to these examples."""
        return Wanted(self.y, self.target)


class Attack(ABC):
    """Base of every attack. Subclasses are frozen dataclasses registered with `evaluator.attacks.registry.register`.

    minimal_norm: the attack looks for the closest adversarial point whatever epsilon is. It returns the closest it found
    that is adversarial when asked again (`evaluator.attacks.minimal_norm.MinimalNorm`), the point of no perturbation where
    there is none. Ask `threat.contains` whether that is within the budget.
    supported_threats, can_target: set by `register`.
    """

    minimal_norm: ClassVar[bool] = False
    supported_threats: ClassVar[tuple[str, ...]] = ("*",)
    can_target: ClassVar[bool] = True

    @abstractmethod
    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        """Returns one point of `threat` per example: an adversarial one where found, else the best candidate."""

    @classmethod
    def can_do(cls, threat: Threat) -> bool:
        """Whether this attack works under a threat of that kind."""
        return "*" in cls.supported_threats or threat.kind in cls.supported_threats

    def check(self, threat: Threat, *, targeted: bool = False) -> None:
        """Raises InputError, before any compute, when this attack cannot do `threat` or cannot aim at a target."""
        name = type(self).__name__
        if not self.can_do(threat):
            kinds = ", ".join(self.supported_threats)
            raise InputError(f'{name} cannot attack the "{threat.kind}" threat.', help=f"It can do: {kinds}.")
        if targeted and not self.can_target:
            raise InputError(f"{name} has no targeted form.", help="Leave the target away.")

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
        self.check(threat, targeted=target is not None)
        if x.dim() < 2 or len(x) != len(y):
            raise InputError(f"x {tuple(x.shape)} and y {tuple(y.shape)} do not fit.", help="Pass a batch and its labels.")
        if len(x) and not bool((x >= 0).logical_and(x <= 1).all()):
            raise InputError("inputs must lie in [0, 1] and be finite.", help="Put normalisation inside the model.")
        ids = torch.arange(len(x), device=x.device) if ids is None else ids.to(x.device)
        return self.run(model, Batch(x.detach(), y, Draws(seed, ids), target), threat)
