"""The boundary attack: a random walk along the decision boundary towards the clean image, from labels (Brendel, Rauber and
Bethge 2018, "Decision-Based Adversarial Attacks: Reliable Attacks Against Black-Box Machine Learning Models", algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.decision import Search, boundary_steps, unit_l2
from evaluator.attacks.minimal_norm import CountedMinimalNorm
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_LOOK = 5  # every so many steps the move along the sphere is judged by itself
_RATE = 0.15  # how fast step sizes follow their success rates
_CONVERGED = 1e-7  # source step below which an example leaves


@register(
    "boundary", title="Boundary attack", access="labels", threats=("l2",), paper="Brendel et al. 2018, alg. 1", targeted=False
)
@dataclass(frozen=True)
class Boundary(CountedMinimalNorm):
    """A move along the sphere around the clean image, then one towards it, kept when still adversarial.

    queries: labels per example, everything included. trials: random images tried as a first adversarial point.
    spherical_step, source_step: first sizes of the two moves, relative to the distance. Afterwards each follows its own
    success rate (a half along the sphere, a quarter towards the image), example by example.
    Returns the closest adversarial point found, the clean one where there is none.
    """

    queries: int = 10_000
    trials: int = 50
    spherical_step: float = 0.1
    source_step: float = 0.1

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, trials=self.trials)
        positive(spherical_step=self.spherical_step, source_step=self.source_step)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        search = Search(Queries(model, batch, threat, self.spendable))
        rows = search.first_points(self.trials)
        search.to_boundary(rows, search.closest[rows], steps=boundary_steps(threat, batch.x[:1].numel()))
        spherical = torch.full((len(batch),), self.spherical_step, device=batch.x.device)
        source = torch.full((len(batch),), self.source_step, device=batch.x.device)
        step = 0
        while True:
            looks = step % _LOOK == 0
            rows = search.queries.affordable(rows, 1 + looks)
            rows = rows[source[rows] > _CONVERGED]
            if not len(rows):
                return search.closest
            part = batch[rows].fork(step)
            x, points = part.x, search.closest[rows]
            around = _along_sphere(x, points, part.draws.normal(*x.shape[1:]).to(x), spherical[rows])
            if looks:
                stays = search.ask(rows, around)
                spherical[rows] = _follow(spherical[rows], stays, rate=0.5)
            closer = (around + (x - around) * wide(source[rows], x)).clamp(0, 1)
            source[rows] = _follow(source[rows], search.ask(rows, closer), rate=0.25)
            step += 1


def _along_sphere(x: Tensor, points: Tensor, noise: Tensor, size: Tensor) -> Tensor:
    """Points moved by `size` (n,) of their distance to x at right angles to it, and put back to that distance (in the box)."""
    away = points - x
    distance = flat(away).norm(dim=1)
    outward = unit_l2(away)
    tangent = noise - outward * wide((flat(noise) * flat(outward)).sum(dim=1), noise)
    moved = away + unit_l2(tangent) * wide(size * distance, away)
    return (x + unit_l2(moved) * wide(distance, moved)).clamp(0, 1)


def _follow(size: Tensor, success: Tensor, *, rate: float) -> Tensor:
    """Sizes (n,) a little larger after success and smaller after failure, at rest when `rate` of the tries succeed."""
    grown, shrunk = size * (1 + _RATE * (1 - rate) / rate), size * (1 - _RATE)
    return choose(success, grown, shrunk).clamp_max(0.9)
