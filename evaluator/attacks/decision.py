"""What decision-based attacks share: a first adversarial point, the way back to the boundary, and the closest point so far.

All of them look for the closest adversarial point from labels alone; see Brendel et al. 2018, "Decision-Based Adversarial
Attacks", for the setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.base import Batch
from evaluator.attacks.queries import Queries
from evaluator.attacks.rows import choose, wide
from evaluator.threats.base import Threat

Towards = Callable[[Tensor, Tensor, Tensor], Tensor]


class Search:
    """The closest adversarial point found for every example, and the label queries that find it.

    closest: (n, *shape) points, the clean ones where nothing is known; distance: (n,) float64, infinite there.
    """

    def __init__(self, queries: Queries) -> None:
        batch = queries.batch
        self.queries, self.batch, self.threat = queries, batch, queries.threat
        self.closest = self.threat.start(batch.x)
        self.distance = torch.full((len(batch),), torch.inf, dtype=torch.float64, device=batch.x.device)

    def ask(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m,) bool success of points (m, *shape) of `rows` (m,), all different; the closest successes are remembered."""
        success = self.queries.success(rows, points)
        distance = self.threat.distance(self.batch.x[rows], points)
        closer = success & (distance < self.distance[rows])
        self.closest[rows[closer]], self.distance[rows[closer]] = points[closer], distance[closer]
        return success

    def first_points(self, trials: int) -> Tensor:
        """Asks about the clean points, then about random images until each example has an adversarial one.

        trials: random images per example at most, every other one of coarse patches (fine noise averages out in robust
        networks). Returns rows (m,) that have a start and are not adversarial already.
        """
        rows = torch.arange(len(self.batch), device=self.batch.x.device)
        if len(rows):
            rows = rows[~self.ask(rows, self.closest)]
        clean = rows
        for trial in range(trials):
            rows = self.queries.affordable(rows, 1)
            if not len(rows):
                break
            part = self.batch[rows].fork(trial)
            rows = rows[~self.ask(rows, random_images(part, coarse=trial % 2 == 1))]
        return clean[self.distance[clean].isfinite()]

    def to_boundary(self, rows: Tensor, points: Tensor, *, steps: int) -> Tensor:
        """Halves the way from the clean inputs to adversarial points (m, *shape) `steps` times, labels deciding.

        Returns adversarial points within 2^-steps of the way from a point that is not. An example whose queries run out
        keeps the best it has.
        """
        towards = TOWARDS[self.threat.kind]
        result, low, high = points.clone(), torch.zeros(len(rows)).to(points), torch.ones(len(rows)).to(points)
        for _ in range(steps):
            asking = self.queries.left[rows] > 0
            if not bool(asking.any()):
                break
            middle = (low + high) / 2
            candidate = towards(self.batch.x[rows], points, middle)
            success = torch.zeros_like(asking)
            success[asking] = self.ask(rows[asking], candidate[asking])
            high, low = torch.where(success, middle, high), torch.where(asking & ~success, middle, low)
            result = choose(success, candidate, result)
        return result


def towards_l2(x: Tensor, points: Tensor, share: Tensor) -> Tensor:
    """The point at `share` (n,) of the straight way from x to the points."""
    return (x + (points - x) * wide(share, x)).clamp(0, 1)


def towards_linf(x: Tensor, points: Tensor, share: Tensor) -> Tensor:
    """The points clipped to the Linf ball whose radius is `share` (n,) of their own distance."""
    move = points - x
    radius = wide(move.flatten(1).abs().amax(dim=1) * share, x)
    return (x + torch.minimum(torch.maximum(move, -radius), radius)).clamp(0, 1)


TOWARDS: dict[str, Towards] = {"l2": towards_l2, "linf": towards_linf}


def unit_l2(directions: Tensor) -> Tensor:
    """(n, *shape) scaled to Euclidean norm 1; zero stays zero."""
    return directions / wide(directions.flatten(1).norm(dim=1).clamp_min(1e-12), directions)


def random_images(batch: Batch, *, coarse: bool) -> Tensor:
    """(n, *shape) uniform noise, or patches of it about a quarter of the image wide."""
    shape = batch.x.shape[1:]
    if not coarse or len(shape) < 2:
        return batch.draws.uniform(*shape).to(batch.x)
    patches = batch.draws.uniform(*shape[:-2], min(4, shape[-2]), min(4, shape[-1])).to(batch.x)
    flat = patches.reshape(len(batch), -1, *patches.shape[-2:])
    return functional.interpolate(flat, size=shape[-2:], mode="nearest").reshape(batch.x.shape)


def boundary_steps(threat: Threat, features: int) -> int:
    """Halvings until the bracket is d^-3/2 (L2) or d^-2 (Linf) of the way (Chen et al. 2020, sec. 4), between 10 and 24."""
    exponent = 1.5 if threat.kind == "l2" else 2.0
    return min(max(round(exponent * math.log2(max(features, 1))), 10), 24)
