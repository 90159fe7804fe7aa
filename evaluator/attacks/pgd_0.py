"""PGD with projection on the L0 ball (Croce and Hein 2019, "Sparse and Imperceivable Adversarial Attacks", sec. 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Threat, flat


@register("pgd_0", title="PGD-0", access="gradients", threats=("l0",), paper="Croce and Hein 2019, sec. 2.3")
@dataclass(frozen=True)
class PGD0(Restarted):
    """Dense steps along the gradient of L1 length `step_size`, after each of them the epsilon most changed pixels are kept.

    steps: gradient steps per restart. step_size: in units of one pixel's full range, spread over all pixels. restarts:
    random starts; an example leaves at its first success. loss: "ce", "margin", "dlr" or "pm".
    """

    steps: int = 50
    step_size: float = 100.0
    restarts: int = 5
    loss: Literal["ce", "margin", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        positive(step_size=self.step_size)
        one_of(LOSSES, loss=self.loss)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        now = Climbing(batch, threat.random_start(batch.x, batch.draws))
        for _ in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.points, LOSSES[self.loss])
            now.leave(seen)
            length = wide(flat(seen.gradient).abs().sum(dim=1).clamp_min(1e-12), now.points)
            now.points = threat.project(now.batch.x, now.points + self.step_size * seen.gradient / length)
        return now.finish(model, threat)
