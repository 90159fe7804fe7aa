"""Fast minimum-norm attack (Pintor et al. 2021, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints")."""

from __future__ import annotations

import math
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


@register(
    "fmn", title="Fast minimum norm", access="gradients", threats=("linf", "l2", "l1", "l0"), paper="Pintor et al. 2021, alg. 1"
)
@dataclass(frozen=True)
class FMN(MinimalNorm):
    """The closest adversarial point: gradient steps inside a ball whose radius shrinks when across, grows when not.

    steps: iterations. step_size: first step (L2 length of the normalised gradient; default 1, for Linf 10), annealed by a
    cosine to a hundredth. gamma: first relative change of the radius, annealed to 1e-4 (under L0 the radius changes by at
    least one pixel a step, and starts at one). stop_within: an example leaves as
    soon as a point within epsilon is known.
    """

    steps: int = 100
    step_size: float | None = None
    gamma: float = 0.05
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        positive(gamma=self.gamma)
        if self.step_size is not None:
            positive(step_size=self.step_size)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, everyone = NORMS[threat.kind], Closest.none(batch, threat)
        first = self.step_size if self.step_size is not None else norm.reach
        active = torch.arange(len(batch), device=batch.x.device)
        known, z = everyone, batch.x
        radius = torch.full_like(known.distance, 0.0 if norm.whole else torch.inf)
        for step in range(self.steps):
            if not len(active):
                return everyone.points
            seen = look(model, batch, threat, z, margin, stop=step == 0)
            known = known.updated(z, norm.size(z - batch.x), seen.success)
            gradient, values, success = seen.gradient, seen.values, seen.success
            if step == 0 or self.stop_within:
                keep = seen.keep if step == 0 else (~within(threat, batch, known.points)).nonzero().squeeze(1)
                if len(keep) < len(active):
                    gradient = gradient if step == 0 else gradient[keep]
                    everyone = everyone.replaced(active, known)
                    batch, z, known, active, radius = batch[keep], z[keep], known[keep], active[keep], radius[keep]
                    values, success = values[keep], success[keep]
                    if not len(active):
                        return everyone.points
            share = step / max(self.steps - 1, 1)
            gamma = _annealed(self.gamma, 1e-4, share)
            if norm.whole:
                grown, shrunk = torch.maximum(radius + 1, radius * (1 + gamma)), torch.minimum(radius - 1, radius * (1 - gamma))
                radius = torch.where(success, torch.minimum(shrunk, known.distance - 1), grown).clamp_min(1)
            else:
                estimate = norm.size(z - batch.x) - values / norm.dual(gradient).clamp_min(1e-12)
                # stretched, because a step that ends exactly on a linear boundary would estimate the same radius for ever
                missed = torch.where(torch.isinf(known.distance), estimate, radius) * (1 + gamma)
                radius = torch.where(success, torch.minimum(radius * (1 - gamma), known.distance), missed)
            length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
            moved = z - batch.x + wide(_annealed(first, first / 100, share) / length, z) * gradient
            z = (batch.x + norm.project(moved, radius)).clamp(0, 1)
        if len(active):
            adversarial = batch.success(glance(model, batch, threat, z))
            everyone = everyone.replaced(active, known.updated(z, norm.size(z - batch.x), adversarial))
        return everyone.points


def _annealed(first: float, last: float, share: float) -> float:
    """Cosine from `first` (share 0) to `last` (share 1)."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
