"""Augmented Lagrangian adversarial attack (Rony et al. 2021, "Augmented Lagrangian Adversarial Attacks", algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
        norm, everyone = NORMS[threat.kind], Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        success = batch.success(glance(model, batch, threat, batch.x))
        everyone = everyone.updated(batch.x, torch.zeros_like(everyone.distance), success)
        active = (~success).nonzero().squeeze(1)
        batch, known = batch[active], everyone[active]
        z, none = batch.x, torch.zeros_like(known.distance)
        state = [none + 1.0, none + 1.0, none + torch.inf, torch.zeros_like(z), torch.zeros_like(z), none.bool()]
        for step in range(self.steps):
            if not len(active):
                break
            multiplier, rho, last, square, velocity, ever = state
            gap, gradient, adversarial, multiplier = self._look(model, batch, threat, z, multiplier, rho, step)
            known = known.updated(z, norm.size(z - batch.x), adversarial)
            ever = ever | adversarial
            if step % _CHECK == _CHECK - 1:
                worse = ~ever & (gap > _IMPROVED * last)
                rho, last = torch.where(worse, _GROWTH * rho, rho), gap
            memory = 1 - 1 / (step + 1) if step < 9 else _MEMORY
            square = memory * square + (1 - memory) * gradient.square()
            velocity = _MEMORY * velocity + gradient / (square.sqrt() + 1e-8)
            moved = self.step_size * _LAST ** (step / self.steps) * velocity * (1 - _MEMORY)
            z = (z - moved).clamp(0, 1)
            state = [multiplier, rho, last, square, velocity, ever]
            if self.stop_within:
                keep = (~within(threat, batch, known.points)).nonzero().squeeze(1)
                if len(keep) < len(active):
                    everyone = everyone.replaced(active, known)
                    batch, z, known, active = batch[keep], z[keep], known[keep], active[keep]
                    state = [value[keep] for value in state]
        if len(active):
            adversarial = batch.success(glance(model, batch, threat, z))
            everyone = everyone.replaced(active, known.updated(z, norm.size(z - batch.x), adversarial))
        return everyone.points

    def _look(
        self, model: Model, batch: Batch, threat: Threat, z: Tensor, multiplier: Tensor, rho: Tensor, step: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(constraint, gradient of the Lagrangian, who is adversarial, the new multiplier) at z."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_(True)
            logits = model(threat.apply(batch.x, leaf)).float()
            gap = _ratio(logits, batch)
            distance = flat(leaf - batch.x).square().sum(dim=1)
            held = gap.detach()
            wanted = (multiplier + rho * held).clamp(*_RANGE) if step else multiplier
            multiplier = (_MEMORY * multiplier + (1 - _MEMORY) * wanted).clamp(*_RANGE)
            penalty = torch.where(gap > 0, multiplier * gap + rho * gap.square() / 2, multiplier * gap.exp())
            gradient = gradient_of((distance + penalty).sum(), leaf)
        return held, gradient, batch.success(logits.detach()), multiplier


def _ratio(logits: Tensor, batch: Batch) -> Tensor:
    """(n,) the difference of logits ratio, positive while the example stands: (Z_y - max Z_i) / (Z_(1) - Z_(3))."""
    if batch.target is not None:
        difference = best_other(logits, batch.target) - pick(logits, batch.target)
    else:
        difference = pick(logits, batch.y) - best_other(logits, batch.y)
    ordered = logits.sort(dim=1, descending=True).values
    return difference / (ordered[:, 0] - ordered[:, min(2, logits.shape[1] - 1)]).clamp_min(1e-9)
