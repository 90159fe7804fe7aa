"""PCROS, an attack by prediction and correction (Wan et al. 2020, board 88.04 %; arXiv 2306.01809).

Reads PGD as Euler's method for an ordinary differential equation and replaces it by a predictor-corrector step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, at_most, one_of
from evaluator.threats.base import Threat


@register("pcros", title="Predictor-corrector PGD", access="gradients", threats=("*",), paper="Wan et al., arXiv 2306.01809")
@dataclass(frozen=True)
class PCROS(Attack):
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

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def once(part: Batch) -> Attempt:
            return self._attempt(model, part, threat)

        return with_restarts(once, batch, threat, restarts=self.restarts).points

    def _attempt(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One random start."""
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / self.steps
        points, loss = threat.random_start(batch.x, batch.draws), LOSSES[self.loss]
        result, fell = points.clone(), torch.zeros(len(batch), dtype=torch.bool, device=points.device)
        active = torch.arange(len(batch), device=points.device)
        for _ in range(self.steps):
            before = look(model, batch, threat, points, loss)
            result[active], fell[active] = points, before.success
            batch, active, points = batch[before.keep], active[before.keep], points[before.keep]
            if not len(active):
                break
            predicted = threat.project(batch.x, points + threat.steepest_step(before.gradient, size))
            after = look(model, batch, threat, predicted, loss)
            result[active], fell[active] = predicted, after.success
            batch, active, points = batch[after.keep], active[after.keep], points[after.keep]
            if not len(active):
                break
            blend = self.weight * before.gradient[after.keep] + (1 - self.weight) * after.gradient
            points = threat.project(batch.x, points + threat.steepest_step(blend, size))
        if len(active):
            result[active], fell[active] = points, batch.success(glance(model, batch, threat, points))
        return Attempt(result, fell)
