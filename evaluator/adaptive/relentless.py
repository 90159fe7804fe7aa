"""PGD that never stops: what only just crosses a random boundary does not stay across it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Relentless(Attack):
    """Ascends the loss from a random start for all of its steps, whose size falls from epsilon to 0 by a cosine.

    Returns the last point, deep on the other side where there is one: a success is decided by the caller, by votes.
    """

    steps: int = 50
    loss: Literal["ce", "margin", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        points = threat.random_start(batch.x, batch.draws)
        for step in range(self.steps):
            gradient = look(model, batch, threat, points, LOSSES[self.loss], stop=False).gradient
            size = threat.epsilon * (1 + math.cos(math.pi * step / self.steps)) / 2
            points = threat.project(batch.x, points + threat.steepest_step(gradient, size))
        return points
