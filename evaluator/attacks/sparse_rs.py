"""Sparse random search over sets of pixels (Croce et al. 2022, "Sparse-RS: a Versatile Framework for Query-Efficient Sparse
Black-Box Adversarial Attacks", algorithms 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Active
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.pixels import pixels_first, restored
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose
from evaluator.attacks.validation import at_least, at_most, positive
from evaluator.draws import Draws
from evaluator.threats.base import Threat

_SHRINKS = ((50, 2), (200, 4), (500, 5), (1000, 6), (2000, 8), (4000, 10), (6000, 12), (8000, 15))  # of 10,000 queries


@dataclass
class _State(Active):
    """x: (m, C, P) the images' pixels; points, chosen, values: the best so far, its changed pixels (m, P), its margin."""

    x: Tensor
    points: Tensor
    chosen: Tensor
    values: Tensor

    @classmethod
    def begin(cls, batch: Batch, rows: Tensor, budget: int) -> _State:
        """Random pixels at random corners, for the examples `rows` of the batch."""
        part = batch[rows]
        x = pixels_first(part.x)
        chosen = _first(part.draws.uniform(x.shape[2]), min(budget, x.shape[2]))
        points = torch.where(chosen[:, None], corners(x, part.draws.uniform(x.shape[1] + 1, x.shape[2])), x)
        now = cls(part, x, points, chosen, torch.full((len(rows),), -torch.inf, device=x.device))
        now.at = rows
        return now


@register("sparse_rs", title="Sparse-RS", access="scores", threats=("l0",), paper="Croce et al. 2022, alg. 1-2")
@dataclass(frozen=True)
class SparseRS(Attack):
    """Keeps epsilon pixels at corners of the color cube; exchanges a shrinking share of them when that raises the margin loss.

    queries: model rows per example and restart, the clean look included. restarts: independent runs. share: alpha, the part
    of the pixels that the first proposals exchange; it falls on the paper's schedule, to one pixel at the least. A new
    pixel gets a random corner color other than its own.
    """

    queries: int = 5000
    restarts: int = 1
    share: float = 0.3

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, restarts=self.restarts)
        positive(share=self.share)
        at_most(1, share=self.share)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries = Queries(model, batch, threat, self.queries * self.restarts)
        best = batch.x.clone()
        rows = torch.arange(len(batch), device=batch.x.device)
        if not len(rows):
            return best
        loss, fell = queries.judge(rows, best, margin)
        rows = rows[~fell]
        for restart in range(self.restarts):
            rows = self._restart(queries, batch.fork(restart), rows, best, loss, int(threat.epsilon), first=restart == 0)
        return best

    def _restart(
        self, queries: Queries, batch: Batch, rows: Tensor, best: Tensor, loss: Tensor, budget: int, *, first: bool
    ) -> Tensor:
        """One run for the examples `rows`; notes the best points and their losses in place; returns who still stands."""
        now = _State.begin(batch, rows, budget)
        asked, count = 1 if first else 0, min(budget, now.x.shape[2])
        candidate, taken = now.points, now.chosen
        while len(now):
            shown = restored(candidate, batch.x)
            found, success = queries.judge(now.at, shown, margin)
            asked += 1
            improved = success | (found > loss[now.at])
            best[now.at[improved]], loss[now.at[improved]] = shown[improved], found[improved]
            better = success | (found > now.values)
            now.points, now.chosen = choose(better, candidate, now.points), choose(better, taken, now.chosen)
            now.values = torch.where(better, found, now.values)
            now.drop(success)
            if asked >= self.queries or count == 0:
                break
            exchanged = max(round(self._share(asked) * count), 1)
            candidate, taken = _exchanged(now.x, now.points, now.chosen, exchanged, now.batch.draws)
        return now.at

    def _share(self, asked: int) -> float:
        """alpha after so many queries."""
        progress = asked * 10_000 // self.queries
        return self.share / max((divisor for at, divisor in _SHRINKS if progress > at), default=1)


def _exchanged(x: Tensor, points: Tensor, chosen: Tensor, count: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Points (n, C, P) with `count` chosen pixels restored and as many others at random corners; and the new choice (n, P)."""
    noise = draws.uniform(2 + x.shape[1] + 1, x.shape[2])
    out = _first(torch.where(chosen, noise[:, 0], -1.0), count)
    free = int((~chosen[:1]).sum()) if len(chosen) else 0
    into = _first(torch.where(chosen, -1.0, noise[:, 1]), min(count, free)) if free else out
    moved = torch.where(out[:, None], x, points)
    return torch.where(into[:, None], corners(x, noise[:, 2:]), moved), (chosen & ~out) | into


def _first(score: Tensor, count: int) -> Tensor:
    """(n, P) bool: the `count` largest scores of each row."""
    top = score.topk(count, dim=1).indices
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, top, True)


def corners(x: Tensor, noise: Tensor) -> Tensor:
    """(n, C, P) random corners of the color cube, each other than x's own color. noise: (n, C + 1, P) uniforms."""
    corner = (noise[:, :-1] < 0.5).to(x.dtype)
    return torch.where((corner == x).all(dim=1, keepdim=True), 1 - corner, corner)
