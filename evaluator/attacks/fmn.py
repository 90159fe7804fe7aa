"""Fast minimum-norm attack (Pintor et al. 2021, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm
from evaluator.attacks.norms import NORMS, Norm
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@dataclass
class _State(Walking):
    """radius: (m,) of the ball that z is projected on."""

    radius: Tensor


@register(
    "fmn", title="Fast minimum norm", access="gradients", threats=("linf", "l2", "l1", "l0"), paper="Pintor et al. 2021, alg. 1"
)
@dataclass(frozen=True)
class FMN(MinimalNorm):
    """The closest adversarial point: gradient steps inside a ball whose radius shrinks when across, grows when not.

    steps: iterations. step_size: first step (L2 length of the normalised gradient; default 1, for Linf 10), annealed by a
    cosine to a hundredth. gamma: first relative change of the radius, annealed to 1e-4. (Under L0 the radius changes by at
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
        norm, known = NORMS[threat.kind], Closest.none(batch, threat)
        first = self.step_size if self.step_size is not None else norm.reach
        now = _State(batch, known, batch.x, torch.full_like(known.distance, 0.0 if norm.whole else torch.inf))
        for step in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.z, margin, stop=step == 0)
            now.closer(norm.size, seen.success)
            rows = now.standing(seen, threat, first=step == 0, stop_within=self.stop_within)
            gradient = seen.gradient if step == 0 else seen.gradient[rows]
            values, success = seen.values[rows], seen.success[rows]
            now.keep(rows)
            share = step / max(self.steps - 1, 1)
            now.radius = self._radius(norm, now, gradient, values, success, _annealed(self.gamma, 1e-4, share))
            length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
            moved = now.z - now.batch.x + wide(_annealed(first, first / 100, share) / length, now.z) * gradient
            now.z = (now.batch.x + norm.project(moved, now.radius)).clamp(0, 1)
        return now.finish(model, threat, norm.size).points

    @staticmethod
    def _radius(norm: Norm, now: _State, gradient: Tensor, values: Tensor, success: Tensor, gamma: float) -> Tensor:
        """(m,) the next radius: smaller where z is adversarial, else larger or, where nothing is known, estimated."""
        radius, best = now.radius, now.known.distance
        if norm.whole:
            grown, shrunk = torch.maximum(radius + 1, radius * (1 + gamma)), torch.minimum(radius - 1, radius * (1 - gamma))
            return torch.where(success, torch.minimum(shrunk, best - 1), grown).clamp_min(1)
        estimate = norm.size(now.z - now.batch.x) - values / norm.dual(gradient).clamp_min(1e-12)
        # stretched, because a step that ends exactly on a linear boundary would estimate the same radius for ever
        missed = torch.where(torch.isinf(best), estimate, radius) * (1 + gamma)
        return torch.where(success, torch.minimum(radius * (1 - gamma), best), missed)


def _annealed(first: float, last: float, share: float) -> float:
    """Cosine from `first` (share 0) to `last` (share 1)."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
