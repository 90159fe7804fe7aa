"""Elastic-net attack (Chen et al. 2018, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial Examples")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@register("ead", title="Elastic net", access="gradients", threats=("l1", "l2"), paper="Chen et al. 2018, alg. 1")
@dataclass(frozen=True)
class EAD(MinimalNorm):
    """Accelerated shrinkage-thresholding on c * max(-margin, 0) + |d|_2^2 + beta |d|_1, with a binary search on c.

    steps: iterations per c. searches: values of c tried, from first_c. beta: weight of the L1 norm. step_size: of the first
    step, falling with the square root of what is left. stop_within: an example leaves as soon as a point within epsilon is
    known. Of all adversarial points met, the closest in the threat's own norm counts.
    """

    steps: int = 100
    searches: int = 6
    first_c: float = 1.0
    beta: float = 0.05
    step_size: float = 0.03
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, searches=self.searches)
        at_least(0, beta=self.beta)
        positive(first_c=self.first_c, step_size=self.step_size)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        everyone = Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        success = batch.success(glance(model, batch, threat, batch.x))
        everyone = everyone.updated(batch.x, torch.zeros_like(everyone.distance), success)
        active = (~success).nonzero().squeeze(1)
        low, high = torch.zeros(len(batch), device=batch.x.device), torch.full((len(batch),), torch.inf, device=batch.x.device)
        c = torch.full_like(low, self.first_c)
        for _ in range(self.searches):
            if not len(active):
                break
            known, reached = self._shrink(model, batch[active], threat, everyone[active], c[active])
            everyone = everyone.replaced(active, known)
            high[active] = torch.where(reached, c[active], high[active])
            low[active] = torch.where(reached, low[active], c[active])
            c = torch.where(torch.isinf(high), 10 * low.clamp_min(self.first_c), (low + high) / 2)
            if self.stop_within:
                active = active[~within(threat, batch[active], known.points)]
        return everyone.points

    def _shrink(self, model: Model, batch: Batch, threat: Threat, known: Closest, c: Tensor) -> tuple[Closest, Tensor]:
        """One c: the closest points, and for whom any was adversarial."""
        norm, x = NORMS[threat.kind], batch.x
        reached = torch.zeros(len(batch), dtype=torch.bool, device=x.device)
        z = slack = x  # the iterate and its extrapolation
        for step in range(self.steps):
            seen = look(model, batch, threat, slack, margin, stop=False)
            hinge = torch.where(seen.success, 0.0, c)
            slope = 2 * (slack - x) - wide(hinge, x) * seen.gradient
            size = self.step_size * (1 - step / self.steps) ** 0.5
            delta = slack - size * slope - x
            shrunk = delta.sign() * (delta.abs() - size * self.beta).clamp_min(0)
            new = (x + shrunk).clamp(0, 1)
            slack, z = new + step / (step + 3) * (new - z), new
            slack = slack.clamp(0, 1)
            adversarial = batch.success(glance(model, batch, threat, z))
            known = known.updated(z, norm.size(z - x), adversarial)
            reached = reached | adversarial
        return known, reached
