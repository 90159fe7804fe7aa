"""DeepFool (Moosavi-Dezfooli et al. 2016, "DeepFool: a Simple and Accurate Method to Fool Deep Neural Networks")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.boundaries import nearest_boundary
from evaluator.attacks.gradients import glance
from evaluator.attacks.minimal_norm import MinimalNorm
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_BEYOND = 1e-4  # added to every step, as in the authors' code: near the boundary the overshoot alone is lost to rounding


@dataclass
class _State(Climbing):
    """total: the sum of the steps."""

    total: Tensor


@register(
    "deepfool", title="DeepFool", access="gradients", threats=("linf", "l2"), paper="Moosavi-Dezfooli et al. 2016, alg. 2"
)
@dataclass(frozen=True)
class DeepFool(MinimalNorm):
    """Adds up the smallest steps to the nearest linearised boundary until the label changes.

    The step to the boundary of class k is |f_k| / ||w_k||_q in the steepest direction, f_k = Z_k - Z_y and w_k its gradient
    (for two classes and L2: -f w / ||w||^2). steps: at most so many. candidates: likeliest wrong classes considered.
    overshoot: the sum of steps is stretched by 1 + overshoot, to cross the boundary.
    """

    steps: int = 50
    candidates: int = 9
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, candidates=self.candidates)
        at_least(0, overshoot=self.overshoot)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, now = NORMS[threat.kind], _State(batch, batch.x, torch.zeros_like(batch.x))
        for step in range(self.steps + 1):
            if not len(now):
                break
            fell = now.batch.success(glance(model, now.batch, threat, now.points))
            now.found.points[now.at[fell]] = now.points[fell]
            now.drop(fell)
            if step == self.steps or not len(now):
                break
            near = nearest_boundary(model, now.batch, threat, now.points, norm, candidates=self.candidates)
            size = near.gap.abs() / norm.dual(near.normal).clamp_min(1e-12) + _BEYOND
            move = threat.steepest_step(near.normal, size.clamp_max(norm.size(torch.ones_like(now.points)).amax()))
            now.total = now.total + move * wide(near.gap.sign(), move)
            now.points = (now.batch.x + (1 + self.overshoot) * now.total).clamp(0, 1)
        return now.found.points
