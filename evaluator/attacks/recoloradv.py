"""ReColorAdv (Laidlaw and Feizi 2019, "Functional Adversarial Attacks")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.adam_points import climb_by_adam
from evaluator.attacks.attempts import Attempt, from_nothing_first
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Threat


@register("recoloradv", title="ReColorAdv", access="gradients", threats=("color",), paper="Laidlaw and Feizi 2019, sec. 4")
@dataclass(frozen=True)
class ReColorAdv(Attack):
    """Adam on the color map's grid, from the identity map first and from random maps on restarts.

    steps: per restart, at rate * epsilon. The paper's smoothness loss is a hard budget of the threat here.
    """

    steps: int = 100
    restarts: int = 1
    rate: float = 0.05
    loss: Literal["margin", "ce", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        positive(rate=self.rate)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def climb(part: Batch, start: Tensor) -> Attempt:
            rate = self.rate * threat.epsilon
            return climb_by_adam(model, part, threat, start, LOSSES[self.loss], steps=self.steps, rate=rate)

        return from_nothing_first(climb, batch, threat, restarts=self.restarts).points
