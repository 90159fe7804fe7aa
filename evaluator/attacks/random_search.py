"""Random search over a threat's own points: no gradient, whatever the points are (in the manner of Andriushchenko et al.
2020, "Square Attack", for flows, maps and angles too)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose
from evaluator.attacks.validation import at_least
from evaluator.draws import Draws
from evaluator.threats.base import Threat

_SMALLEST = 0.02  # share of the points that the last proposals change, and of epsilon by which the smallest step moves
_WHOLE = 0.25  # of the proposals change the whole point


@register("random_search", title="Random search", access="scores", threats=("*",), paper="after Andriushchenko et al. 2020")
@dataclass(frozen=True)
class RandomSearch(Attack):
    """Moves a random window of the point in a random direction, as far as the threat allows or less; keeps what is worse.

    queries: model rows per example, the clean look included. starts: so many random points are tried first (worst of k,
    Engstrom et al. 2019), and the search goes on from the worst of them. A move is the threat's steepest step along
    random numbers that are equal in the window and zero outside. Windows and steps shrink as the queries go.
    """

    queries: int = 1000
    starts: int = 50

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, starts=self.starts)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries, best = Queries(model, batch, threat, self.queries), threat.start(batch.x)
        rows = torch.arange(len(batch), device=batch.x.device)
        loss = torch.full((len(batch),), -torch.inf, device=batch.x.device)
        candidate = best
        for step in range(self.queries):
            if not len(rows):
                break
            values, success = queries.judge(rows, candidate, margin)
            better = success | (values > loss[rows])
            best[rows] = choose(better, candidate, best[rows])
            loss[rows] = torch.where(better, values, loss[rows])
            rows = rows[~success]
            if not len(rows) or step + 1 == self.queries:
                break
            part = batch[rows].fork(step)
            if step < min(self.starts, self.queries // 4):
                candidate = threat.random_start(part.x, part.draws)
            else:
                share = max(1 - step / self.queries, _SMALLEST)
                candidate = threat.project(part.x, best[rows] + self._move(threat, best[rows], part.draws, share))
        return best

    def _move(self, threat: Threat, points: Tensor, draws: Draws, share: float) -> Tensor:
        """A steepest step along a random window."""
        parts = threat.split(points)
        if len(parts) > 1:
            which = draws.integers(len(parts), 1).squeeze(1)
            noises = [choose(which == k, _window(part, draws, share), torch.zeros_like(part)) for k, part in enumerate(parts)]
            noise = threat.join(noises, points)
        else:
            noise = _window(points, draws, share)
        far = draws.uniform(2)
        size = threat.epsilon * torch.where(far[:, 0] < 0.5, 2.0, share * far[:, 1].clamp_min(_SMALLEST))
        return threat.steepest_step(noise, size)


def _window(points: Tensor, draws: Draws, share: float) -> Tensor:
    """Like `points` (n, C, *positions): one normal number per channel inside a random window, 0 outside and in some channels.

    The window covers about share / 4 of the positions, now and then all of them.
    """
    n, channels, *positions = points.shape
    value = draws.normal(channels) * (draws.uniform(channels) < 2 / 3)
    noise = value.to(points.dtype).reshape(n, channels, *[1] * len(positions)).expand_as(points)
    everywhere = draws.uniform(1) < _WHOLE
    place = draws.uniform(max(len(positions), 1))
    side = (share / 4) ** (1 / max(len(positions), 1))
    for axis, size in enumerate(positions):
        extent = min(max(math.ceil(side * size), 1), size)
        first = (place[:, axis] * (size - extent + 1)).long()[:, None]
        number = torch.arange(size, device=points.device)
        inside = ((number >= first) & (number < first + extent)) | everywhere
        shape = [n, 1, *[size if other == axis else 1 for other in range(len(positions))]]
        noise = noise * inside.reshape(shape)
    return noise
