"""One pixel at a time: the loop that anybody writes first, and that an ensemble must not lose to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.pixels import palette, pixels_first
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_INWARD = 1 - 1e-6  # float32 rounding must not push an L1 norm over epsilon
_NUMBERS = 2**22  # values of probes held at once


@register(
    "greedy_pixels",
    title="Greedy pixels",
    access="scores",
    threats=("l0", "l1"),
    paper="after Papernot et al. 2016 and Narodytska and Kasiviswanathan 2017",
)
@dataclass(frozen=True)
class GreedyPixels(Attack):
    """Sets the pixel to the corner of the color cube that raises the margin loss most, again and again; then exchanges.

    The first round tries every pixel and corner (at most half of the queries, a random part where there are more), the next
    ones the `shortlist` best of them. When the budget is used up a random changed pixel is restored and the best other one
    is set instead, which stays where the loss rises. queries: model rows per example, everything included. Under L1 a
    pixel that the budget does not take to its corner goes as far as it does.
    """

    queries: int = 5000
    shortlist: int = 128

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, shortlist=self.shortlist)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries, moves = Queries(model, batch, threat, self.queries), _Moves(batch.x, threat)
        rows = torch.arange(len(batch), device=batch.x.device)
        points, changed = batch.x.clone(), batch.x.clone()
        if not len(rows):
            return points
        loss, fell = queries.judge(rows, points, margin)
        rows = rows[~fell]
        if not len(rows):
            return points
        likely = self._likely(queries, moves, batch, rows)
        step = 0
        while len(rows := queries.affordable(rows, likely.shape[1])):
            base, full = changed[rows], moves.room(rows, changed[rows]) <= 0
            noise = batch.draws.fork(step)[rows].uniform(moves.pixels)
            base = torch.where(wide(full, base), moves.without_one(rows, base, noise), base)
            values, success = moves.probe(queries, rows, base, likely[rows])
            values = torch.where(success, torch.inf, values)
            at = values.argmax(dim=1, keepdim=True)
            value, moved = values.gather(1, at).squeeze(1), moves.made(rows, base, likely[rows].gather(1, at))[:, 0]
            fell = success.gather(1, at).squeeze(1)
            kept = ~full | (value > loss[rows])
            changed[rows], loss[rows] = choose(kept, moved, base), torch.where(kept, value, loss[rows])
            rows, step = rows[~fell], step + 1
        return changed

    def _likely(self, queries: Queries, moves: _Moves, batch: Batch, rows: Tensor) -> Tensor:
        """(n, k) the moves that raise the loss most by themselves, best first."""
        count = min(moves.count, max(self.queries // 2, 1))
        chosen = torch.arange(moves.count, device=rows.device).expand(len(rows), -1)
        if count < moves.count:
            chosen = batch.draws.fork("which")[rows].uniform(moves.count).argsort(dim=1, stable=True)[:, :count]
        values, _ = moves.probe(queries, rows, batch.x[rows], chosen)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.shortlist]
        likely = chosen.new_zeros(len(batch), order.shape[1])
        likely[rows] = chosen.gather(1, order)
        return likely


class _Moves:
    """Every way to set one pixel to a corner: move m sets pixel m % pixels to corner m // pixels."""

    def __init__(self, x: Tensor, threat: Threat) -> None:
        self._x, self._shape, self._l1 = pixels_first(x), x.shape[1:], threat.kind == "l1"
        self._colors = palette(self._x.shape[1], self._x)
        self._budget = threat.epsilon * _INWARD if self._l1 else float(threat.epsilon)
        self.pixels = self._x.shape[2]
        self.count = self.pixels * len(self._colors)

    def room(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m,) what is left of the budget."""
        away = (pixels_first(points) - self._x[rows]).abs().sum(dim=1)
        left = self._budget - (away if self._l1 else (away > 0).float()).sum(dim=1)
        return torch.where(left <= 1e-6 * self._budget, 0.0, left)

    def without_one(self, rows: Tensor, points: Tensor, noise: Tensor) -> Tensor:
        """The points with one changed pixel restored, at random by `noise` (m, pixels)."""
        now, x = pixels_first(points), self._x[rows]
        differs = (now != x).any(dim=1)
        out = torch.where(differs, noise, -1.0).argmax(dim=1)
        here = torch.arange(self.pixels, device=out.device) == out[:, None]
        return torch.where(here[:, None], x, now).reshape(points.shape)

    def made(self, rows: Tensor, points: Tensor, moves: Tensor) -> Tensor:
        """(m, k, *shape): each point after each of its moves (m, k); unchanged where its pixel is changed already."""
        now, x = pixels_first(points), self._x[rows]
        at = (moves % self.pixels)[:, None].expand(-1, now.shape[1], -1)
        old, clean = now.gather(2, at), x.gather(2, at)  # (m, C, k)
        step = self._colors[moves // self.pixels].transpose(1, 2) - clean
        if self._l1:
            length = step.abs().sum(dim=1, keepdim=True).clamp_min(1e-12)
            step = step * (self.room(rows, points)[:, None, None] / length).clamp_max(1)
        new = torch.where((old == clean).all(dim=1, keepdim=True), clean + step, old).clamp(0, 1)
        many = now[:, None].expand(-1, moves.shape[1], -1, -1)
        made = many.scatter(3, at.transpose(1, 2)[..., None], new.transpose(1, 2)[..., None])
        return made.reshape(len(points), moves.shape[1], *self._shape)

    def probe(self, queries: Queries, rows: Tensor, points: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
        """(m, k) margin losses and success of the points after each of their moves; a group of examples at a time."""
        group = max(_NUMBERS // (moves.shape[1] * self._x[0].numel()), 1)
        parts = []
        for some in torch.arange(len(rows), device=rows.device).split(group):
            made = self.made(rows[some], points[some], moves[some])
            many = rows[some].repeat_interleave(moves.shape[1])
            parts.append(queries.judge(many, made.flatten(0, 1), margin))
        values, success = (torch.cat(part).reshape(moves.shape) for part in zip(*parts, strict=True))
        return values, success
