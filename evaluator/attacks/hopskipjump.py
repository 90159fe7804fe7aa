"""HopSkipJump: gradient descent along the decision boundary from labels (Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack:
A Query-Efficient Decision-Based Attack", algorithm 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.decision import Search, boundary_steps, unit_l2
from evaluator.attacks.minimal_norm import CountedMinimalNorm
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_SAMPLES = 32  # noise vectors held at once
_NUMBERS = 2**24  # pixels held at once
_HALVINGS = 12  # of the step before an iteration is given up


@register(
    "hopskipjump",
    title="HopSkipJump",
    access="labels",
    threats=("linf", "l2"),
    paper="Chen et al. 2020, alg. 2",
    targeted=False,
)
@dataclass(frozen=True)
class HopSkipJump(CountedMinimalNorm):
    """Projects on the boundary, estimates its normal there by Monte Carlo, steps along it, halves the step until adversarial.

    queries: labels per example, everything included. samples: noise vectors of the first normal; iteration t uses
    samples * sqrt(t), at most max_samples. trials: random images tried as a first adversarial point.
    Returns the closest adversarial point found, the clean one where there is none.
    """

    queries: int = 5000
    samples: int = 100
    max_samples: int = 1000
    trials: int = 50

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, samples=self.samples, max_samples=self.max_samples, trials=self.trials)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        search = Search(Queries(model, batch, threat, self.spendable))
        steps = boundary_steps(threat, batch.x[:1].numel())
        rows = search.first_points(self.trials)
        search.to_boundary(rows, search.closest[rows], steps=steps)
        iteration = 1
        while len(rows):
            samples = min(int(self.samples * math.sqrt(iteration)), self.max_samples)
            rows = search.queries.affordable(rows, samples + 2)  # a normal, one step and something to do with it
            if len(rows):
                self._iterate(search, rows, iteration, samples, steps)
            iteration += 1
        return search.closest

    def _iterate(self, search: Search, rows: Tensor, iteration: int, samples: int, steps: int) -> None:
        """One normal, one step along it, one way back to the boundary, for every row."""
        points, distance = search.closest[rows], search.distance[rows].to(search.batch.x.dtype)
        features = points[0].numel()
        radius = torch.full_like(distance, 0.1) if iteration == 1 else distance / features
        draws = search.batch.fork(f"normal {iteration}")
        normal = _normals(search, draws, rows, points, radius, samples)
        direction = unit_l2(normal) if search.threat.kind == "l2" else normal.sign()
        size, found, ahead = distance / math.sqrt(iteration), points.clone(), torch.zeros_like(rows, dtype=torch.bool)
        for _ in range(_HALVINGS):
            trying = (~ahead & (search.queries.left[rows] > 0)).nonzero().squeeze(1)
            if not len(trying):
                break
            candidate = (points[trying] + wide(size[trying], points) * direction[trying]).clamp(0, 1)
            success = search.ask(rows[trying], candidate)
            found[trying[success]], ahead[trying[success]] = candidate[success], True
            size = size / 2
        search.to_boundary(rows[ahead], found[ahead], steps=steps)


def _normals(search: Search, batch: Batch, rows: Tensor, points: Tensor, radius: Tensor, samples: int) -> Tensor:
    """(m, *shape) estimates of the boundary's normal towards the adversarial side (eq. 9 and 16, with the baseline).

    Sums run sample by sample in a fixed order, so that an example's estimate does not depend on its neighbours.
    """
    result = torch.empty_like(points)
    group = max(_NUMBERS // (_SAMPLES * points[0].numel()), 1)
    for first in range(0, len(rows), group):
        some = slice(first, first + group)
        result[some] = _normal(search, batch[rows[some]], rows[some], points[some], radius[some], samples)
    return result


def _normal(search: Search, batch: Batch, rows: Tensor, points: Tensor, radius: Tensor, samples: int) -> Tensor:
    signed, plain, balance = torch.zeros_like(points), torch.zeros_like(points), torch.zeros_like(radius)
    for first in range(0, samples, _SAMPLES):
        count = min(_SAMPLES, samples - first)
        noise = batch.draws.normal(count, *points.shape[1:]).to(points)
        if search.threat.kind == "linf":
            noise = noise.sign()
        noise = unit_l2(noise.flatten(0, 1)).reshape(noise.shape)
        moved = (points[:, None] + wide(radius, noise) * noise).clamp(0, 1)
        vote = search.queries.successes(rows, moved).to(points) * 2 - 1
        noise = (moved - points[:, None]) / wide(radius, noise)  # what the box left of it
        for sample in range(count):
            signed = signed + wide(vote[:, sample], points) * noise[:, sample]
            plain = plain + noise[:, sample]
        balance = balance + vote.sum(dim=1)
    mean = balance / samples
    decided = mean.abs() == 1
    baseline = torch.where(decided, 0.0, mean)  # all votes equal: their mean is all there is to go by
    return signed - wide(baseline, points) * plain
