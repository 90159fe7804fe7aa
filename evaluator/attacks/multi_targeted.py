"""MultiTargeted (Gowal et al. 2019, "An Alternative Surrogate Loss for PGD-based Adversarial Testing", sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.attempts import Attempt, one_target_at_a_time, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register("multi_targeted", title="MultiTargeted", access="gradients", threats=("*",), paper="Gowal et al. 2019, sec. 3")
@dataclass(frozen=True)
class MultiTargeted(Attack):
    """One PGD per wrong class on the logit difference Z_t - Z_y, likeliest class first, until the example falls.

    steps, restarts: of each PGD. Its step size, epsilon / 4 at first, falls to a tenth at half and to a hundredth at three
    quarters of the steps. targets: wrong classes tried.
    """

    steps: int = 40
    restarts: int = 1
    targets: int = 9
    loss: Literal["margin", "ce", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, targets=self.targets, restarts=self.restarts)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def size(step: int) -> float:
            return threat.epsilon / 4 * (1.0 if 2 * step < self.steps else 0.1 if 4 * step < 3 * self.steps else 0.01)

        def once(part: Batch) -> Attempt:
            start = threat.random_start(part.x, part.draws)
            return ascend(model, part, threat, start, LOSSES[self.loss], steps=self.steps, size=size)

        def all_restarts(part: Batch) -> Attempt:
            return with_restarts(once, part, threat, restarts=self.restarts)

        return one_target_at_a_time(all_restarts, model, batch, threat, targets=self.targets).points
