"""The Brendel-Bethge attack: a walk along the boundary (Brendel et al. 2019, "Accurate, reliable and fast robustness
evaluation", algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.decision import random_images
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, drawn_closer
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.trust_region import step_within
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat

_AWAY, _STRIDES = 0.1, 10  # signed steps that look for a first adversarial point, and how many
_BISECTIONS = 10
_MEMORY = 0.8  # of the normal over the steps
_OVERSHOOT = 1.1  # how far beyond the linearised boundary a step from the clean side goes; from the other it stops as short
_LAST = 0.01  # share of the first region that the last one has


@dataclass
class _State(Walking):
    """normal: (m, *shape) of the boundary, averaged over the steps; none before the first."""

    normal: Tensor


@register(
    "brendel_bethge",
    title="Brendel-Bethge",
    access="gradients",
    threats=("linf", "l2", "l1"),
    paper="Brendel et al. 2019, alg. 1",
)
@dataclass(frozen=True)
class BrendelBethge(MinimalNorm):
    """From a far adversarial point back to the boundary, then along it: each step the nearest to x on its tangent plane.

    steps: along the boundary. radius: L2 length of the first steps as a share of the distance from x at the start, falling
    to a hundredth. trials: starts tried, the first from x, others from random images. stop_within: an example
    leaves as soon as a point within epsilon is known.
    """

    steps: int = 100
    radius: float = 0.5
    trials: int = 10
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, trials=self.trials)
        positive(radius=self.radius)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, known = NORMS[threat.kind], Closest.none(batch, threat)
        if not len(batch):
            return known.points
        known = self._start(model, batch, threat, known)
        known = drawn_closer(model, batch, threat, norm.size, known, halvings=_BISECTIONS)
        now = _State(batch, known, known.points, torch.zeros_like(batch.x))
        now.drop(~(torch.isfinite(known.distance) & (known.distance > 0)))
        reach = NORMS["l2"].size(known.points - batch.x)
        for step in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.z, margin, stop=False)
            now.closer(norm.size, seen.success)
            gone = now.standing(seen, threat, first=False, stop_within=self.stop_within)
            gradient, values = seen.gradient[gone], seen.values[gone]
            now.keep(gone)
            now.normal = gradient if step == 0 else _MEMORY * now.normal + (1 - _MEMORY) * gradient
            size = self.radius * reach[now.at] * _LAST ** (step / self.steps)
            gap = -values * torch.where(values < 0, _OVERSHOOT, 2 - _OVERSHOOT)
            move = step_within(threat.kind, now.batch.x - now.z, now.z, now.normal, gap, size)
            now.z = (now.z + move).clamp(0, 1)
        found = now.finish(model, threat, norm.size)
        return drawn_closer(model, batch, threat, norm.size, found, halvings=_BISECTIONS).points

    def _start(self, model: Model, batch: Batch, threat: Threat, known: Closest) -> Closest:
        """Any adversarial points: signed steps up the margin, from x first, then from random images."""
        norm, rows = NORMS[threat.kind], torch.arange(len(batch), device=batch.x.device)
        for trial in range(self.trials):
            part = batch[rows]
            z = random_images(part.fork(trial), coarse=trial % 2 == 0) if trial else part.x
            for stride in range(_STRIDES + 1):
                if stride < _STRIDES:
                    seen = look(model, part, threat, z, margin)
                    fell, ahead = seen.success, (z[seen.keep] + _AWAY * seen.gradient.sign()).clamp(0, 1)
                else:
                    fell = part.success(glance(model, part, threat, z))
                    ahead = z[~fell]
                known = known.replaced(rows[fell], Closest(z, norm.size(z - part.x))[fell.nonzero().squeeze(1)])
                rows, part, z = rows[~fell], part[~fell], ahead
                if not len(rows):
                    return known
        return known
