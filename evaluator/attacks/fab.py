"""Fast Adaptive Boundary attack (Croce and Hein 2020, "Minimally distorted Adversarial Examples with FAB", ICML)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.boundaries import nearest_boundary
from evaluator.attacks.gradients import glance
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, drawn_closer, within
from evaluator.attacks.norms import NORMS, Norm
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

PAPER = "Croce and Hein 2020 (FAB), alg. 1"


@dataclass(frozen=True)
class BoundarySearch(MinimalNorm):
    """What FAB and FAB-T share: step to the linearised boundary, stay near the original, pull back when across.

    steps: iterations per start. restarts: the first starts at the original, the others near it. alpha: the most that a
    step leans on the original. overshoot (eta): steps go this factor beyond the linearised boundary. backward (beta):
    a point across is pulled back to this share of its distance. refine: bisections at the end, between the original and
    the closest point found. stop_within: an example leaves as soon as a point within epsilon is known.
    """

    steps: int = 100
    restarts: int = 1
    alpha: float = 0.1
    overshoot: float = 1.05
    backward: float = 0.9
    refine: int = 3
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts, overshoot=self.overshoot)
        at_least(0, alpha=self.alpha, backward=self.backward, refine=self.refine)

    def closest(self, model: Model, batch: Batch, threat: Threat, known: Closest) -> Closest:
        """All restarts for examples that are classified correctly."""
        norm = NORMS[threat.kind]
        for restart in range(self.restarts):
            part = batch.fork(restart)
            start = batch.x if restart == 0 else self._nearby(part, threat, norm, known)
            known = self._descend(model, part, threat, norm, start, known)
        return drawn_closer(model, batch, threat, norm.size, known, halvings=self.refine)

    def _nearby(self, batch: Batch, threat: Threat, norm: Norm, known: Closest) -> Tensor:
        """A random point at half the distance of the closest one known (or of epsilon where none is)."""
        noise = 2 * batch.draws.uniform(*batch.x.shape[1:]) - 1
        radius = known.distance.clamp_max(threat.epsilon) / 2
        return (batch.x + noise * wide(radius / norm.size(noise).clamp_min(1e-12), noise)).clamp(0, 1)

    def _descend(self, model: Model, batch: Batch, threat: Threat, norm: Norm, z: Tensor, known: Closest) -> Closest:
        """`steps` iterations of alg. 1 from z."""
        now = Walking(batch, known, z)
        for _ in range(self.steps):
            if self.stop_within:
                now.drop(within(threat, now.batch, now.known.points))
            if not len(now):
                break
            near = nearest_boundary(model, now.batch, threat, now.z, norm)
            now.z = self._step(norm, now.batch.x, now.z, near.normal, near.gap)
            adversarial = now.batch.success(glance(model, now.batch, threat, now.z))
            now.closer(norm.size, adversarial)
            now.z = choose(adversarial, now.batch.x + self.backward * (now.z - now.batch.x), now.z)
        return now.closest

    def _step(self, norm: Norm, x: Tensor, z: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """(1 - a)(z + eta d) + a (x + eta d_x), d and d_x the moves of z and x to the hyperplane, a by their sizes."""
        from_x = gap + ((z - x) * normal).flatten(1).sum(dim=1)
        both = norm.to_hyperplane(torch.cat([z, x]), torch.cat([normal, normal]), torch.cat([gap, from_x]))
        move, move_x = both.chunk(2)
        size, size_x = norm.size(move), norm.size(move_x)
        lean = (size / (size + size_x).clamp_min(1e-12)).clamp_max(self.alpha)
        ahead, above = z + self.overshoot * move, x + self.overshoot * move_x
        return (ahead + wide(lean, z) * (above - ahead)).clamp(0, 1)

    def correct(self, model: Model, batch: Batch, threat: Threat) -> tuple[Closest, Tensor, Tensor]:
        """The clean look: nothing known, the logits, and who is to be attacked."""
        known = Closest.none(batch, threat)
        if not len(batch):
            return known, batch.x.new_zeros(0, 1), torch.arange(0, device=batch.x.device)
        logits = glance(model, batch, threat, known.points)
        return known, logits, (~batch.success(logits)).nonzero().squeeze(1)


@register("fab", title="Fast Adaptive Boundary", access="gradients", threats=("linf", "l2", "l1"), paper=PAPER)
@dataclass(frozen=True)
class FAB(BoundarySearch):
    """The closest adversarial point, by steps to the nearest of all linearised decision boundaries.

    An iteration costs two forward rows and K - 1 backward rows (one when targeted). Other options: see `_Boundary`.
    """

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        known, _, stands = self.correct(model, batch, threat)
        found = self.closest(model, batch[stands], threat, known[stands])
        return known.replaced(stands, found).points
