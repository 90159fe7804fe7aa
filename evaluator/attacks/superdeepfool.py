"""SuperDeepFool (Abdolahpourrostam et al. 2024, "Revisiting DeepFool: generalization and improvement", algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.boundaries import nearest_boundary
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, drawn_closer, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat, flat

_BISECTIONS = 8


@register(
    "superdeepfool", title="SuperDeepFool", access="gradients", threats=("l2",), paper="Abdolahpourrostam et al. 2024, alg. 2"
)
@dataclass(frozen=True)
class SuperDeepFool(MinimalNorm):
    """DeepFool to the boundary, then a projection of the way there on its normal, again and again; a bisection ends it.

    rounds: of both, each from where the last ended. steps: DeepFool steps per round at most. overshoot: of each of them.
    stop_within: an example leaves as soon as a point within epsilon is known.
    """

    rounds: int = 5
    steps: int = 10
    overshoot: float = 0.02
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, rounds=self.rounds, steps=self.steps)
        at_least(0, overshoot=self.overshoot)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        everyone = Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        success = batch.success(glance(model, batch, threat, batch.x))
        everyone = everyone.updated(batch.x, torch.zeros_like(everyone.distance), success)
        active = (~success).nonzero().squeeze(1)
        z = batch.x
        for _ in range(self.rounds):
            if not len(active):
                break
            part, known = batch[active], everyone[active]
            across, crossed, known = self._cross(model, part, threat, z[active], known)
            seen = look(model, part, threat, across, margin, stop=False)
            normal = seen.gradient
            ahead = (flat(across - part.x) * flat(normal)).sum(dim=1) / flat(normal).square().sum(dim=1).clamp_min(1e-20)
            projected = (part.x + wide(ahead.clamp_min(0), normal) * normal).clamp(0, 1)
            z = z.index_copy(0, active, choose(crossed, projected, across))
            everyone = everyone.replaced(
                active, drawn_closer(model, part, threat, NORMS["l2"].size, known, halvings=_BISECTIONS)
            )
            if self.stop_within:
                active = active[~within(threat, part, everyone.points[active])]
        return everyone.points

    def _cross(self, model: Model, batch: Batch, threat: Threat, z: Tensor, known: Closest) -> tuple[Tensor, Tensor, Closest]:
        """DeepFool steps until the points are across: (points, who is, the closest)."""
        norm, crossed = NORMS["l2"], torch.zeros(len(batch), dtype=torch.bool, device=z.device)
        for step in range(self.steps + 1):
            crossed = batch.success(glance(model, batch, threat, z))
            known = known.updated(z, norm.size(z - batch.x), crossed)
            if step == self.steps or bool(crossed.all()):
                break
            near = nearest_boundary(model, batch, threat, z, norm)
            moved = (z + (1 + self.overshoot) * norm.to_hyperplane(z, near.normal, near.gap)).clamp(0, 1)
            z = choose(crossed, z, moved)
        return z, crossed, known
