"""The fast gradient method: one steepest step (Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import cross_entropy
from evaluator.attacks.registry import register
from evaluator.threats.base import Threat


@register("fgsm", title="Fast gradient method", access="gradients", threats=("*",), paper="Goodfellow et al. 2015, sec. 4")
@dataclass(frozen=True)
class FGSM(Attack):
    """x + epsilon * steepest direction of the cross-entropy (Linf: its sign), towards the target when there is one.

    The steepest direction is the threat's: L2 moves along the normalised gradient, L1 spends all on the largest entry.
    """

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        points = threat.start(batch.x)
        if not len(batch):
            return points
        seen = look(model, batch, threat, points, cross_entropy)
        if len(seen.keep) == len(batch):  # the common case, without copies
            return threat.project(batch.x, points + threat.steepest_step(seen.gradient, threat.epsilon))
        stands = batch.x[seen.keep]
        moved = threat.project(stands, points[seen.keep] + threat.steepest_step(seen.gradient, threat.epsilon))
        return points.index_copy(0, seen.keep, moved)
