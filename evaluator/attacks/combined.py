"""Combined functional, spatial and additive attack (Laidlaw and Feizi 2019, "Functional Adversarial Attacks", sec. 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.attempts import Attempt, from_nothing_first
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register(
    "combined",
    title="Combined functional, spatial and additive",
    access="gradients",
    threats=("sum",),
    paper="Laidlaw and Feizi 2019, sec. 5",
)
@dataclass(frozen=True)
class Combined(Attack):
    """PGD on all parts of a sum at once, each moving along its own steepest direction, from no perturbation first.

    steps: per restart; sizes fall linearly from epsilon / 4 to epsilon / 40, as a share of each part's own budget.
    """

    steps: int = 100
    restarts: int = 1
    loss: Literal["margin", "ce", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def size(step: int) -> float:
            return threat.epsilon * (0.25 - 0.225 * step / self.steps)

        def climb(part: Batch, start: Tensor) -> Attempt:
            return ascend(model, part, threat, start, LOSSES[self.loss], steps=self.steps, size=size)

        return from_nothing_first(climb, batch, threat, restarts=self.restarts).points
