"""Decoupled direction and norm (Rony et al. 2019, "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial
Attacks and Defenses", algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import cross_entropy
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat


@register("ddn", title="Decoupled direction and norm", access="gradients", threats=("l2",), paper="Rony et al. 2019, alg. 1")
@dataclass(frozen=True)
class DDN(MinimalNorm):
    """Normalised gradient steps, each put on a sphere around the original that shrinks when across and grows when not.

    steps: iterations. step_size: of the first step, annealed by a cosine to a hundredth. gamma: relative change of the
    radius. first_radius: of the first sphere (default epsilon). stop_within: an example leaves as soon as a point within
    epsilon is known.
    """

    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    first_radius: float | None = None
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        positive(step_size=self.step_size, gamma=self.gamma)
        if self.first_radius is not None:
            positive(first_radius=self.first_radius)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, everyone = NORMS["l2"], Closest.none(batch, threat)
        active, known, z = torch.arange(len(batch), device=batch.x.device), everyone, batch.x
        radius = torch.full_like(known.distance, threat.epsilon if self.first_radius is None else self.first_radius)
        for step in range(self.steps):
            if not len(active):
                return everyone.points
            seen = look(model, batch, threat, z, cross_entropy, stop=step == 0)
            known = known.updated(z, norm.size(z - batch.x), seen.success)
            gradient, success = seen.gradient, seen.success
            if step == 0 or self.stop_within:
                keep = seen.keep if step == 0 else (~within(threat, batch, known.points)).nonzero().squeeze(1)
                if len(keep) < len(active):
                    gradient = gradient if step == 0 else gradient[keep]
                    everyone = everyone.replaced(active, known)
                    batch, z, known, active = batch[keep], z[keep], known[keep], active[keep]
                    radius, success = radius[keep], success[keep]
                    if not len(active):
                        return everyone.points
            size = self.step_size * (0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2)
            length = flat(gradient).norm(dim=1).clamp_min(1e-12)
            delta = z - batch.x + wide(size / length, z) * gradient
            if step:
                radius = radius * torch.where(success, 1 - self.gamma, 1 + self.gamma)
            z = (batch.x + delta * wide(radius / norm.size(delta).clamp_min(1e-12), z)).clamp(0, 1)
        adversarial = batch.success(glance(model, batch, threat, z)) if len(active) else active > 0
        return everyone.replaced(active, known.updated(z, norm.size(z - batch.x), adversarial)).points
