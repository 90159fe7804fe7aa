"""Decoupled direction and norm (Rony et al. 2019, "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial
Attacks and Defenses", algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import cross_entropy
from evaluator.attacks.minimal_norm import Closest, MinimalNorm
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat


@dataclass
class _State(Walking):
    """radius: (m,) of the sphere that z is put on."""

    radius: Tensor


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
        norm, known = NORMS["l2"], Closest.none(batch, threat)
        first_radius = threat.epsilon if self.first_radius is None else self.first_radius
        now = _State(batch, known, batch.x, torch.full_like(known.distance, first_radius))
        for step in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.z, cross_entropy, stop=step == 0)
            now.closer(norm.size, seen.success)
            rows = now.standing(seen, threat, first=step == 0, stop_within=self.stop_within)
            gradient, success = seen.gradient if step == 0 else seen.gradient[rows], seen.success[rows]
            now.keep(rows)
            size = self.step_size * (0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2)
            length = flat(gradient).norm(dim=1).clamp_min(1e-12)
            delta = now.z - now.batch.x + wide(size / length, now.z) * gradient
            if step:
                now.radius = now.radius * torch.where(success, 1 - self.gamma, 1 + self.gamma)
            now.z = (now.batch.x + delta * wide(now.radius / norm.size(delta).clamp_min(1e-12), now.z)).clamp(0, 1)
        return now.finish(model, threat, norm.size).points
