"""Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES, logits_and_gradient
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat


@register("pgd", title="Projected gradient descent", access="gradients", threats=("*",), paper="Madry et al. 2018, sec. 2.1")
@dataclass(frozen=True)
class PGD(Attack):
    """z <- Proj(z + step_size * steepest direction of the loss), from random starts, until success.

    steps: gradient steps per restart. step_size: in the threat's units (default 2.5 * epsilon / steps). restarts:
    random starts; an example leaves the batch at its first success. loss: "ce" or "margin" (Carlini-Wagner).
    random_start: False starts at the clean point (then more than one restart is pointless).
    """

    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    loss: Literal["ce", "margin"] = "ce"
    random_start: bool = True

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        active = torch.arange(len(batch), device=batch.x.device)
        for restart in range(self.restarts):
            if not len(active):
                break
            points, fell = self._restart(model, batch[active].fork(restart), threat)
            best[active] = points
            active = active[~fell]
        return best

    def _restart(self, model: Model, batch: Batch, threat: Threat) -> tuple[Tensor, Tensor]:
        """One start for every example: (last or adversarial points, which ones succeeded)."""
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / self.steps
        points = threat.random_start(batch.x, batch.draws) if self.random_start else threat.start(batch.x)
        result, fell = points.clone(), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
        active = torch.arange(len(batch), device=batch.x.device)
        loss = LOSSES[self.loss]

        def rendered(z: Tensor) -> Tensor:
            return model(threat.apply(batch.x, z))

        for _ in range(self.steps):
            logits, _, gradient = logits_and_gradient(rendered, batch, points, loss)
            success = batch.success(logits)
            result[active], fell[active] = points, success
            keep = ~success
            if not bool(keep.any()):
                return result, fell
            batch, active, points, gradient = batch[keep], active[keep], points[keep], gradient[keep]
            points = threat.project(batch.x, points + threat.steepest_step(gradient, size))
        with torch.no_grad():
            result[active], fell[active] = points, batch.success(rendered(points))
        return result, fell
