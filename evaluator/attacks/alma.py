"""Augmented Lagrangian adversarial attack (Rony et al. 2021, "Augmented Lagrangian Adversarial Attacks", algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, gradient_of
from evaluator.attacks.losses import best_other, pick
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_MEMORY = 0.9  # alpha, of the averages of multiplier and square gradient
_LAST = 0.01  # share of the step size at the end
_CHECK, _GROWTH, _IMPROVED = 10, 1.2, 0.95  # every so many steps rho grows, unless the constraint improved by 5 %
_RANGE = (1e-6, 1e12)  # of the multiplier


@dataclass
class _State(Walking):
    """multiplier, rho: of the penalty; last: the constraint at the last check; square, velocity: RMSProp's moments; ever:
    who has been adversarial."""

    multiplier: Tensor
    rho: Tensor
    last: Tensor
    square: Tensor
    velocity: Tensor
    ever: Tensor


@register("alma", title="Augmented Lagrangian", access="gradients", threats=("l2",), paper="Rony et al. 2021, alg. 1")
@dataclass(frozen=True)
class ALMA(MinimalNorm):
    """Minimises the distance under the constraint that the ratio of logit differences is adversarial, by a penalty with a
    multiplier that adapts to each example; RMSprop steps with momentum.

    steps: iterations. step_size: of the first step, falling to a hundredth. stop_within: an example
    leaves as soon as a point within epsilon is known.
    """

    steps: int = 200
    step_size: float = 0.1
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        positive(step_size=self.step_size)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, none = NORMS[threat.kind], torch.zeros(len(batch), device=batch.x.device)
        still = torch.zeros_like(batch.x)
        now = _State(
            batch,
            Closest.none(batch, threat),
            batch.x,
            multiplier=none + 1.0,
            rho=none + 1.0,
            last=none + torch.inf,
            square=still,
            velocity=still,
            ever=none.bool(),
        )
        if not len(now):
            return now.closest.points
        success = batch.success(glance(model, batch, threat, batch.x))
        now.closer(norm.size, success)
        now.drop(success)
        for step in range(self.steps):
            if not len(now):
                break
            gap, gradient, adversarial = self._look(model, threat, now, step)
            now.closer(norm.size, adversarial)
            now.ever = now.ever | adversarial
            if step % _CHECK == _CHECK - 1:
                worse = ~now.ever & (gap > _IMPROVED * now.last)
                now.rho, now.last = torch.where(worse, _GROWTH * now.rho, now.rho), gap
            memory = 1 - 1 / (step + 1) if step < 9 else _MEMORY
            now.square = memory * now.square + (1 - memory) * gradient.square()
            now.velocity = _MEMORY * now.velocity + gradient / (now.square.sqrt() + 1e-8)
            moved = self.step_size * _LAST ** (step / self.steps) * now.velocity * (1 - _MEMORY)
            now.z = (now.z - moved).clamp(0, 1)
            if self.stop_within:
                now.drop(within(threat, now.batch, now.known.points))
        return now.finish(model, threat, norm.size).points

    def _look(self, model: Model, threat: Threat, now: _State, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """(constraint, gradient of the Lagrangian, who is adversarial) at z; moves the multiplier."""
        with torch.enable_grad():
            leaf = now.z.detach().requires_grad_(True)
            logits = model(threat.apply(now.batch.x, leaf)).float()
            gap = _ratio(logits, now.batch)
            distance = flat(leaf - now.batch.x).square().sum(dim=1)
            held = gap.detach()
            wanted = (now.multiplier + now.rho * held).clamp(*_RANGE) if step else now.multiplier
            now.multiplier = (_MEMORY * now.multiplier + (1 - _MEMORY) * wanted).clamp(*_RANGE)
            penalty = torch.where(gap > 0, now.multiplier * gap + now.rho * gap.square() / 2, now.multiplier * gap.exp())
            gradient = gradient_of((distance + penalty).sum(), leaf)
        return held, gradient, now.batch.success(logits.detach())


def _ratio(logits: Tensor, batch: Batch) -> Tensor:
    """(n,) the difference of logits ratio, positive while the example stands: (Z_y - max Z_i) / (Z_(1) - Z_(3))."""
    if batch.target is not None:
        difference = best_other(logits, batch.target) - pick(logits, batch.target)
    else:
        difference = pick(logits, batch.y) - best_other(logits, batch.y)
    ordered = logits.sort(dim=1, descending=True).values
    return difference / (ordered[:, 0] - ordered[:, min(2, logits.shape[1] - 1)]).clamp_min(1e-9)
