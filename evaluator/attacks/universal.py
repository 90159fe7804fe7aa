"""Universal adversarial perturbation: one v for all images (Moosavi-Dezfooli et al. 2017, "Universal Adversarial
Perturbations", algorithm 1)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.deepfool import DeepFool
from evaluator.attacks.gradients import glance
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@register(
    "universal",
    title="Universal perturbation",
    access="gradients",
    threats=("linf", "l2"),
    paper="Moosavi-Dezfooli et al. 2017, alg. 1",
)
@dataclass(frozen=True)
class Universal(Attack):
    """Adds up, image by image, the smallest step that fools x + v, and keeps v inside the ball of radius epsilon.

    passes: over the batch at most. fooling_rate: share of the batch at which it stops (1 - delta). steps, overshoot: of
    DeepFool, which finds each step. The batch is the training set: unlike other attacks, an example's result depends on its
    neighbours. Every image gets the nearest point to x + v that its own box allows; of the v met after each pass, the one
    that fools most of the batch. For images that were not in the batch use `perturbation` and `apply_perturbation`.
    """

    passes: int = 5
    fooling_rate: float = 0.95
    steps: int = 10
    overshoot: float = 0.1

    def __post_init__(self) -> None:
        at_least(1, passes=self.passes, steps=self.steps)
        at_least(0, overshoot=self.overshoot)
        positive(fooling_rate=self.fooling_rate)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        return apply_perturbation(batch.x, self.perturbation(model, batch, threat), threat)

    def perturbation(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        """(*shape) v with ||v|| <= epsilon, trained on the batch."""
        deepfool = DeepFool(steps=self.steps, overshoot=self.overshoot)
        best = v = torch.zeros(batch.x.shape[1:], dtype=batch.x.dtype, device=batch.x.device)
        most = -1
        for number in range(self.passes if len(batch) else 0):
            order = batch.draws.fork(number).uniform(1).squeeze(1).argsort()
            for row in order.tolist():
                one = batch[row : row + 1]
                moved = dataclasses.replace(one, x=apply_perturbation(one.x, v, threat))
                step = deepfool.search(model, moved, threat) - moved.x  # none where x + v is adversarial already
                v = _in_ball(v + step[0], threat)
            fooled = int(batch.success(glance(model, batch, threat, apply_perturbation(batch.x, v, threat))).sum())
            if fooled > most:
                best, most = v, fooled
            if fooled >= self.fooling_rate * len(batch):
                break
        return best


def apply_perturbation(x: Tensor, v: Tensor, threat: Threat) -> Tensor:
    """(n, *shape): x + v, cut by every image's own box."""
    return threat.project(x, x + v)


def _in_ball(v: Tensor, threat: Threat) -> Tensor:
    """The nearest perturbation of norm at most epsilon; the box is each image's affair."""
    if threat.kind == "linf":
        return v.clamp(-threat.epsilon, threat.epsilon)
    norm = v.flatten()[None].norm(dim=1).clamp_min(1e-12)
    return (v[None] * wide((threat.epsilon / norm).clamp_max(1), v[None]))[0]
