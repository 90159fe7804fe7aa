"""Universal adversarial perturbation: one v for all images (Moosavi-Dezfooli et al. 2017, "Universal Adversarial
Perturbations"), found by projected gradient steps (Shafahi et al. 2020, "Universal Adversarial Training", algorithm 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat

_GROUP = 512  # images looked at in one call


@register(
    "universal",
    title="Universal perturbation",
    access="gradients",
    threats=("linf", "l2"),
    paper="Moosavi-Dezfooli et al. 2017; Shafahi et al. 2020, alg. 2",
)
@dataclass(frozen=True)
class Universal(Attack):
    """Steepest steps of v on the batch's mean margin, cut by each image's box, inside the ball of radius epsilon.

    passes: steps over the whole batch per restart, with a size that falls from epsilon / 2 to 0 by a cosine. restarts: the
    first starts at 0, the others at a random corner. fooling_rate: share of the batch at which it stops (1 - delta). All
    images pull, fooled or not: v is to fool others. The batch is the training set: unlike other attacks, an example's result
    depends on its neighbors. Every image gets the nearest point to x + v that its own box allows. Of all v met, the one that
    fools most of the batch counts. For images that were not in the batch use `perturbation` and `apply_perturbation`.
    """

    passes: int = 50
    restarts: int = 2
    fooling_rate: float = 0.95

    def __post_init__(self) -> None:
        at_least(1, passes=self.passes, restarts=self.restarts)
        positive(fooling_rate=self.fooling_rate)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        return apply_perturbation(batch.x, self.perturbation(model, batch, threat), threat)

    def perturbation(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        """(*shape) v with ||v|| <= epsilon, trained on the batch."""
        best = torch.zeros(batch.x.shape[1:], dtype=batch.x.dtype, device=batch.x.device)
        most = -1
        for restart in range(self.restarts if len(batch) else 0):
            v = torch.zeros_like(best)
            if restart:
                v = threat.steepest_step(batch.draws.fork(restart).normal(*best.shape).mean(dim=0)[None], threat.epsilon)[0]
            for step in range(self.passes + 1):
                fooled, gradient = self._look(model, batch, threat, v)
                if fooled >= most:
                    best, most = v, fooled
                if fooled >= self.fooling_rate * len(batch) or not bool(gradient.any()):
                    break
                size = threat.epsilon * (1 + math.cos(math.pi * step / self.passes)) / 4
                v = _in_ball(v + threat.steepest_step(gradient[None], size)[0], threat)
            if most >= self.fooling_rate * len(batch):
                break
        return best

    def _look(self, model: Model, batch: Batch, threat: Threat, v: Tensor) -> tuple[int, Tensor]:
        """How many images v fools, and the gradient of all margins, summed, in v."""
        fooled, total = 0, torch.zeros_like(v)
        for rows in torch.arange(len(batch), device=v.device).split(_GROUP):
            part = batch[rows]
            points = apply_perturbation(part.x, v, threat)
            seen = look(model, part, threat, points, margin, stop=False)
            fooled += int(seen.success.sum())
            total = total + seen.gradient.sum(dim=0)
        return fooled, total


def apply_perturbation(x: Tensor, v: Tensor, threat: Threat) -> Tensor:
    """(n, *shape): x + v, cut by every image's own box."""
    return threat.project(x, x + v)


def _in_ball(v: Tensor, threat: Threat) -> Tensor:
    """The nearest perturbation of norm at most epsilon; the box is each image's affair."""
    if threat.kind == "linf":
        return v.clamp(-threat.epsilon, threat.epsilon)
    norm = v.flatten()[None].norm(dim=1).clamp_min(1e-12)
    return (v[None] * wide((threat.epsilon / norm).clamp_max(1), v[None]))[0]
