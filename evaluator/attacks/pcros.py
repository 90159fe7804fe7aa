"""PCROS, an attack by prediction and correction (Wan et al. 2020, board 88.04 %; arXiv 2306.01809).

Reads PGD as Euler's method for an ordinary differential equation and replaces it by a predictor-corrector step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, at_most, one_of
from evaluator.threats.base import Threat


@register("pcros", title="Predictor-corrector PGD", access="gradients", threats=("*",), paper="Wan et al., arXiv 2306.01809")
@dataclass(frozen=True)
class PCROS(Restarted):
    """Predicts z' = z + a d(g), looks again there, and steps from z along p g + (1 - p) g', g and g' both gradients.

    steps: corrected steps per restart (two looks each), of size a = step_size (default 2.5 * epsilon / steps). weight: p,
    the share of the gradient before prediction. Unlike the authors' code the predicted point is projected, so that a
    success there counts.
    """

    steps: int = 50
    restarts: int = 1
    step_size: float | None = None
    weight: float = 0.1
    loss: Literal["ce", "margin", "dlr", "pm"] = "ce"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        at_least(0, weight=self.weight)
        at_most(1, weight=self.weight)
        one_of(LOSSES, loss=self.loss)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One random start."""
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / self.steps
        now, loss = Climbing(batch, threat.random_start(batch.x, batch.draws)), LOSSES[self.loss]
        for _ in range(self.steps):
            before = look(model, now.batch, threat, now.points, loss)
            now.leave(before)
            if not len(now):
                break
            predicted = threat.project(now.batch.x, now.points + threat.steepest_step(before.gradient, size))
            after = look(model, now.batch, threat, predicted, loss)
            now.note(predicted, after.success)
            now.keep(after.keep)
            if not len(now):
                break
            blend = self.weight * before.gradient[after.keep] + (1 - self.weight) * after.gradient
            now.points = threat.project(now.batch.x, now.points + threat.steepest_step(blend, size))
        return now.finish(model, threat)
