"""GeoDA: a decision-based attack from the geometry of the boundary (Rahmati et al. 2020, "GeoDA: a geometric framework for
black-box adversarial attacks", algorithm 1)."""

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
from evaluator.attacks.validation import at_least, at_most, positive
from evaluator.threats.base import Threat

_SAMPLES = 32  # noise vectors held at once
_RATE = 0.6  # lambda: how fast the distance is taken to shrink, which shares out the queries (eq. 17)
_DOUBLINGS = 12  # of the way along a normal before it is given up


@register(
    "geoda",
    title="GeoDA",
    access="labels",
    threats=("linf", "l2"),
    paper="Rahmati et al. 2020, alg. 1",
    targeted=False,
)
@dataclass(frozen=True)
class GeoDA(CountedMinimalNorm):
    """Takes the boundary for flat: estimates its normal from labels, and looks for it again from x along that normal.

    queries: labels per example, everything included. iterations: normals; each gets lambda^(-2/3) times the queries of the
    one before. sigma: deviation of the noise around the boundary point. frequencies: share of the lowest frequencies of
    height and width that the noise is drawn from. trials: random images tried as a first adversarial point.
    Returns the closest adversarial point found, the clean one where there is none.
    """

    queries: int = 5000
    iterations: int = 8
    sigma: float = 0.02
    frequencies: float = 1.0
    trials: int = 50

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, iterations=self.iterations, trials=self.trials)
        positive(sigma=self.sigma, frequencies=self.frequencies)
        at_most(1, frequencies=self.frequencies)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        search = Search(Queries(model, batch, threat, self.spendable))
        steps = boundary_steps(threat, batch.x[:1].numel())
        rows = search.first_points(self.trials)
        search.to_boundary(rows, search.closest[rows], steps=steps)
        points, normal = search.closest.clone(), torch.zeros_like(batch.x)
        for iteration in range(self.iterations):
            rows = search.queries.affordable(rows, 2)
            if not len(rows):
                break
            samples = self._samples(search.queries.left[rows], iteration, steps)
            normal[rows] = self._normals(search, batch.fork(f"normal {iteration}"), rows, points[rows], samples)
            points[rows] = self._along(search, rows, points[rows], normal[rows], steps)
        return search.closest

    def _samples(self, left: Tensor, iteration: int, steps: int) -> Tensor:
        """(m,) labels for this normal: its share of what is left but for the ways back to the boundary."""
        growth = _RATE ** (-2 / 3)
        coming = sum(growth**later for later in range(self.iterations - iteration))
        back = (self.iterations - iteration) * (steps + 2)
        samples: Tensor = ((left - back).clamp_min(1) / coming).long().clamp_min(1)
        return samples

    def _normals(self, search: Search, batch: Batch, rows: Tensor, points: Tensor, samples: Tensor) -> Tensor:
        """(m, *shape) the mean of the noise, with the sign of its labels (eq. 9); an example asks `samples` (m,) times."""
        total, plain, balance = torch.zeros_like(points), torch.zeros_like(points), torch.zeros(len(rows)).to(points)
        draws = batch.draws[rows]
        for first in range(0, int(samples.max()), _SAMPLES):
            asking = (samples > first).nonzero().squeeze(1)
            noise = _low(draws[asking].fork(first).normal(_SAMPLES, *points.shape[1:]).to(points), self.frequencies)
            here = first + torch.arange(_SAMPLES, device=rows.device) < samples[asking, None]
            at, which = here.nonzero(as_tuple=True)
            moved = (points[asking][at] + self.sigma * noise[at, which]).clamp(0, 1)
            vote = torch.zeros(here.shape, dtype=points.dtype, device=rows.device)
            vote[at, which] = search.queries.success(rows[asking][at], moved).to(points) * 2 - 1
            for sample in range(_SAMPLES):  # one by one, so that an example's sum does not depend on its neighbors
                total[asking] += wide(vote[:, sample], points) * noise[:, sample]
                plain[asking] += wide(here[:, sample].to(points), points) * noise[:, sample]
            balance[asking] += vote.sum(dim=1)
        mean = balance / samples
        baseline = torch.where(mean.abs() == 1, 0.0, mean)  # all votes equal: their mean is all there is to go by
        return total - wide(baseline, points) * plain

    def _along(self, search: Search, rows: Tensor, points: Tensor, normal: Tensor, steps: int) -> Tensor:
        """(m, *shape) boundary points from x along the normals, as they were where there is none."""
        x, distance = search.batch.x[rows], search.threat.distance(search.batch.x[rows], points).to(points)
        direction = normal.sign() if search.threat.kind == "linf" else unit_l2(normal)
        size, found, ahead = distance.clone(), points.clone(), torch.zeros_like(rows, dtype=torch.bool)
        for _ in range(_DOUBLINGS):
            trying = (~ahead & (search.queries.left[rows] > 0)).nonzero().squeeze(1)
            if not len(trying):
                break
            candidate = (x[trying] + wide(size[trying], x) * direction[trying]).clamp(0, 1)
            success = search.ask(rows[trying], candidate)
            found[trying[success]], ahead[trying[success]] = candidate[success], True
            size = size * math.sqrt(2)
        found[ahead] = search.to_boundary(rows[ahead], found[ahead], steps=steps)
        return found


def _low(noise: Tensor, share: float) -> Tensor:
    """The part of noise (n, k, *channels, H, W) in the lowest frequencies of the cosine transform; flat noise stays."""
    if share == 1 or noise.dim() < 4:
        return noise
    for dim in (-2, -1):
        size = noise.shape[dim]
        basis = _cosines(size, max(round(share * size), 1)).to(noise)
        noise = torch.movedim(torch.movedim(noise, dim, -1) @ (basis.T @ basis), -1, dim)
    return noise


def _cosines(size: int, count: int) -> Tensor:
    """(count, size) the lowest rows of the orthonormal cosine transform."""
    angle = math.pi / size * (torch.arange(size) + 0.5) * torch.arange(count)[:, None]
    rows = angle.cos() * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows
