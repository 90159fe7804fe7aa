"""Rounds: the climbs an example goes through until it falls, each entered only by those whose standing asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """What the search knows of every example still standing.

    points: (n, ...) where its margin was smallest; margin: (n,) that smallest logit margin Z_y - max_{i != y} Z_i (> 0);
    clean: (n,) the margin of the clean input; slack: (n,) margin over epsilon times the dual norm of its gradient: how many
    more budgets the linearised model would need from there (inf before the first look); dice: (n,) uniform in [0, 1),
    drawn once per example, decides who is audited.
    """

    points: Tensor
    margin: Tensor
    clean: Tensor
    slack: Tensor
    dice: Tensor

    def __getitem__(self, keep: Tensor) -> Standing:
        return Standing(self.points[keep], self.margin[keep], self.clean[keep], self.slack[keep], self.dice[keep])


def everyone(standing: Standing) -> Tensor:
    """No condition."""
    return torch.ones_like(standing.dice, dtype=torch.bool)


@dataclass(frozen=True)
class Round:
    """One climb per example.

    steps: gradient steps after `diversify` steps of output diversification. loss: name in `evaluator.attacks.losses`.
    schedule: "apgd" (momentum and halving, Croce and Hein 2020) or "cosine" (step epsilon * (1 + cos) / 2).
    start: "random" in the set, or the "best" point so far. aim: rank of the wrong class to steer to, None for any.
    when: who enters; a function of the example's own standing, so that verdicts do not depend on its neighbours.
    """

    name: str
    steps: int
    loss: str
    schedule: Literal["apgd", "cosine"] = "apgd"
    start: Literal["random", "best"] = "random"
    diversify: int = 0
    aim: int | None = None
    when: Callable[[Standing], Tensor] = everyone

    @property
    def length(self) -> int:
        """Moves in all."""
        return self.diversify + self.steps


def near(slack: float, *, audit: float = 0.0) -> Callable[[Standing], Tensor]:
    """Examples within `slack` budgets of the linearised boundary, and a random share `audit` of all others.

    A slack beyond `SUSPICIOUS` is not distance but a vanishing gradient: such examples always enter.
    """

    def enters(standing: Standing) -> Tensor:
        return (standing.slack < slack) | (standing.slack > SUSPICIOUS) | (standing.dice < audit)

    return enters


SUSPICIOUS = 30.0
