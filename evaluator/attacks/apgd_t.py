"""Targeted Auto-PGD (Croce and Hein 2020, sec. 4.2 and 5): one APGD run per likely wrong class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.apgd import APGD
from evaluator.attacks.attempts import one_target_at_a_time
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register("apgd_t", title="Targeted Auto-PGD", access="gradients", threats=("*",), paper="Croce and Hein 2020, sec. 4.2")
@dataclass(frozen=True)
class APGDT(Attack):
    """APGD on the targeted DLR loss against the `targets` likeliest wrong classes in turn, until the example falls.

    One clean look ranks the classes. steps, restarts: of each APGD run. A batch with a target is run against it alone.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    loss: Literal["dlr", "margin", "ce", "pm"] = "dlr"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, targets=self.targets, restarts=self.restarts)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        climb = APGD(self.steps, self.restarts, self.loss)
        return one_target_at_a_time(
            lambda part: climb.attempt(model, part, threat), model, batch, threat, targets=self.targets
        ).points
