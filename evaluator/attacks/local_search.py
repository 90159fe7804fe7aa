"""Greedy local search over single pixels, from scores (Narodytska and Kasiviswanathan 2017, "Simple Black-Box Adversarial
Attacks on Deep Neural Networks", algorithm 2, LocSearchAdv)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_NUMBERS = 2**24  # pixels held at once


@register(
    "local_search",
    title="Local search",
    access="scores",
    threats=("l0", "linf"),
    paper="Narodytska and Kasiviswanathan 2017, alg. 2",
)
@dataclass(frozen=True)
class LocalSearch(Attack):
    """Probes single pixels near the last changed ones, changes the best few for good, and moves on from there.

    A pixel (all channels of one position) goes to one end of what the threat allows: [0, 1] in L0, epsilon in Linf. The end
    is drawn at random unless the pixel is there already. queries: model rows per example, everything included. probes:
    pixels tried per round, one row each; the changed image costs one row more. pixels: how many are changed per round.
    radius: p, the next probes come from the squares of side 2p + 1 around the changed pixels; no pixel changes twice. When
    the L0 budget or the pixels are used up, the search starts again elsewhere with the queries that are left.
    """

    queries: int = 5000
    probes: int = 64
    pixels: int = 5
    radius: int = 4

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, probes=self.probes, pixels=self.pixels)
        at_least(0, radius=self.radius)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries, board = Queries(model, batch, threat, self.queries), _Board(batch.x, threat)
        rows = torch.arange(len(batch), device=batch.x.device)
        best, loss = threat.start(batch.x), torch.full((len(batch),), -torch.inf, device=batch.x.device)
        if len(rows) and board.limit:
            loss, fell = queries.judge(rows, best, margin)
            rows = rows[~fell]
        step = 0
        while board.limit:
            rows = queries.affordable(rows, self.probes + 1)
            if not len(rows):
                break
            board.start_again(rows[board.room(rows) == 0])
            points, values, fell = self._round(queries, board, batch[rows].fork(step), rows)
            better = fell | (values > loss[rows])
            best[rows[better]], loss[rows[better]] = points[better], values[better]
            rows = rows[~fell]
            step += 1
        return best

    def _round(self, queries: Queries, board: _Board, part: Batch, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probes and changes; returns (points, their margins, success): a probe that succeeds by itself is the point."""
        chosen, valid = board.candidates(rows, part.draws.uniform(board.positions), self.probes)
        up = board.turned(rows, chosen, part.draws.uniform(chosen.shape[1]) < 0.5)
        gains = torch.full(chosen.shape, -torch.inf, device=rows.device)
        broke = torch.zeros_like(valid)
        group = max(_NUMBERS // (chosen.shape[1] * board.points[0].numel()), 1)
        for first in range(0, len(rows), group):
            some = slice(first, first + group)
            probed = board.single(rows[some], chosen[some], up[some])
            asked = valid[some].nonzero()
            values, success = queries.judge(rows[some][asked[:, 0]], probed[asked[:, 0], asked[:, 1]], margin)
            gains[some][asked[:, 0], asked[:, 1]], broke[some][asked[:, 0], asked[:, 1]] = values, success
        fell = broke.any(dim=1)
        order = torch.where(broke, torch.inf, gains).topk(min(self.pixels, gains.shape[1]), dim=1).indices
        taken = valid.gather(1, order) & (torch.arange(order.shape[1], device=rows.device) < board.room(rows)[:, None])
        taken[:, 1:] &= ~fell[:, None]  # where one pixel is enough, that one alone
        board.change(rows, chosen.gather(1, order), up.gather(1, order), taken, radius=self.radius)
        points = board.rendered(rows)
        values = gains.gather(1, order[:, :1]).squeeze(1)
        asking = (~fell).nonzero().squeeze(1)
        if len(asking):
            values[asking], fell[asking] = queries.judge(rows[asking], points[asking], margin)
        return points, values, fell


class _Board:
    """Which pixels of every example are changed, may still change (`free`) and lie near the last change (`near`)."""

    def __init__(self, x: Tensor, threat: Threat) -> None:
        self._x = x if x.dim() == 4 else x.reshape(len(x), -1, 1, x.shape[2]) if x.dim() == 3 else x[:, None, None, :]
        self._shape = x.shape[1:]
        self.positions = self._x.shape[2] * self._x.shape[3]
        if threat.kind == "l0":
            self._low, self._high = torch.zeros_like(self._x), torch.ones_like(self._x)
        else:
            self._low, self._high = (end.reshape(self._x.shape) for end in threat.bounds(x))  # type: ignore[attr-defined]
        self.limit = min(int(threat.epsilon), self.positions) if threat.kind == "l0" else self.positions
        self.points = self._x.clone()
        self._free = torch.ones(len(x), self.positions, dtype=torch.bool, device=x.device)
        self._near = self._free.clone()

    def room(self, rows: Tensor) -> Tensor:
        """(m,) how many more pixels may change."""
        return self.limit - (~self._free[rows]).sum(dim=1)

    def start_again(self, rows: Tensor) -> None:
        """Forgets all changes of these examples."""
        self.points[rows], self._free[rows], self._near[rows] = self._x[rows], True, True

    def candidates(self, rows: Tensor, noise: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(m, k) random positions, those near the last change first, and which of them are free at all."""
        free = self._free[rows]
        rank = noise + free + (free & self._near[rows])
        chosen = rank.topk(min(count, self.positions), dim=1).indices
        return chosen, free.gather(1, chosen)

    def turned(self, rows: Tensor, chosen: Tensor, up: Tensor) -> Tensor:
        """(m, k) `up`, but away from the end where a pixel is already."""
        now = self._gather(self._x, rows, chosen)
        at_low = (now == self._gather(self._low, rows, chosen)).all(dim=1)
        at_high = (now == self._gather(self._high, rows, chosen)).all(dim=1)
        return (up | at_low) & ~at_high

    def single(self, rows: Tensor, chosen: Tensor, up: Tensor) -> Tensor:
        """(m, k, *shape): the current points with one chosen pixel changed."""
        count, (_, channels, height, width) = chosen.shape[1], self._x.shape
        flat = self.points[rows].flatten(2)[:, None].expand(-1, count, -1, -1)
        at = chosen[:, :, None, None].expand(-1, -1, channels, 1)
        ends = self._ends(rows, chosen, up).transpose(1, 2)[..., None]
        return flat.scatter(3, at, ends).reshape(len(rows), count, channels, height, width).reshape(-1, count, *self._shape)

    def change(self, rows: Tensor, chosen: Tensor, up: Tensor, taken: Tensor, *, radius: int) -> None:
        """Changes the chosen pixels (m, k) where `taken`."""
        flat = self.points[rows].flatten(2)
        at = chosen[:, None, :].expand(-1, flat.shape[1], -1)
        ends = torch.where(taken[:, None, :], self._ends(rows, chosen, up), flat.gather(2, at))
        self.points[rows] = flat.scatter(2, at, ends).reshape(-1, *self._x.shape[1:])
        changed = torch.zeros_like(self._free[rows]).scatter(1, chosen, taken)
        self._free[rows] &= ~changed
        image = changed.reshape(-1, 1, *self._x.shape[2:]).float()
        near = functional.max_pool2d(image, 2 * radius + 1, stride=1, padding=radius) > 0
        self._near[rows] = near.flatten(1)

    def rendered(self, rows: Tensor) -> Tensor:
        """(m, *shape) the current points."""
        return self.points[rows].reshape(-1, *self._shape)

    def _ends(self, rows: Tensor, chosen: Tensor, up: Tensor) -> Tensor:
        return torch.where(up[:, None, :], self._gather(self._high, rows, chosen), self._gather(self._low, rows, chosen))

    @staticmethod
    def _gather(images: Tensor, rows: Tensor, chosen: Tensor) -> Tensor:
        """(m, c, k) the chosen pixels of the images."""
        flat = images[rows].flatten(2)
        return flat.gather(2, chosen[:, None, :].expand(-1, flat.shape[1], -1))
