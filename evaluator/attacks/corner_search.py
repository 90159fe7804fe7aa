"""CornerSearch: random combinations of the best single-pixel changes (Croce and Hein 2019, "Sparse and Imperceivable
Adversarial Attacks", sec. 2.1 and algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.pixels import palette, pixels_first, restored
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_NUMBERS = 2**22  # values of probes held at once


@register("corner_search", title="CornerSearch", access="scores", threats=("l0",), paper="Croce and Hein 2019, alg. 1")
@dataclass(frozen=True)
class CornerSearch(Attack):
    """Tries every pixel at every corner of the color cube by itself, then sets of the best: the earlier, the likelier.

    queries: model rows per example, everything included. top: N, how many of the single changes sets are made of. A set
    holds 2 to epsilon pixels; its members are drawn with a probability that falls linearly with their rank. At most
    half of the queries go to single changes; where there are more, to a random part of them.
    """

    queries: int = 5000
    top: int = 100

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, top=self.top)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries, best = Queries(model, batch, threat, self.queries), batch.x.clone()
        rows = torch.arange(len(batch), device=batch.x.device)
        if not len(rows):
            return best
        loss, fell = queries.judge(rows, best, margin)
        for row in rows[~fell].tolist():
            self._search(queries, batch[row : row + 1], rows[row : row + 1], best, loss, int(threat.epsilon))
        return best

    def _search(self, queries: Queries, one: Batch, row: Tensor, best: Tensor, loss: Tensor, budget: int) -> None:
        """Both phases for one example."""
        x = pixels_first(one.x)
        pixels, colors = x.shape[2], palette(x.shape[1], x)
        moves = torch.arange(pixels * len(colors), device=x.device)
        count = min(len(moves), max(self.queries // 2, 1), int(queries.left[row]))
        if count < len(moves):
            moves = one.draws.fork("which").uniform(len(moves))[0].argsort(stable=True)[:count]
        singles = [moves[part][:, None] for part in torch.arange(count).split(_group(x))]
        gains = torch.cat([self._ask(queries, row, x, colors, part, best, loss) for part in singles])
        order = moves[gains.argsort(descending=True, stable=True)[: self.top]]
        rank = torch.arange(len(order), 0, -1, dtype=torch.float64, device=x.device)
        draws = one.draws.fork("sets")
        while not bool(torch.isinf(loss[row])) and (left := int(queries.left[row])) and budget > 1 and len(order) > 1:
            some = min(left, _group(x))
            sizes = 2 + draws.integers(min(budget, len(order)) - 1, some)[0]
            keys = draws.uniform(some, len(order))[0].double().clamp_min(1e-9).log() / rank  # weighted, without replacement
            drawn = order[keys.argsort(dim=1, descending=True)[:, : min(budget, len(order))]]
            drawn = torch.where(torch.arange(drawn.shape[1], device=x.device) < sizes[:, None], drawn, drawn[:, :1])
            self._ask(queries, row, x, colors, drawn, best, loss)

    def _ask(
        self, queries: Queries, row: Tensor, x: Tensor, colors: Tensor, moves: Tensor, best: Tensor, loss: Tensor
    ) -> Tensor:
        """(m,) margin losses of x after each set of moves (m, k); keeps the best, and an infinite loss where one succeeds."""
        made = x.expand(len(moves), -1, -1).clone()
        at = (moves % x.shape[2])[:, None].expand(-1, x.shape[1], -1)
        made.scatter_(2, at, colors[moves // x.shape[2]].transpose(1, 2))
        shown = restored(made, best)
        values, success = queries.judge(row.expand(len(moves)), shown, margin)
        values = torch.where(success, torch.inf, values)
        top = values.argmax()
        if values[top] > loss[row]:
            best[row], loss[row] = shown[top], values[top]
        return values


def _group(x: Tensor) -> int:
    """How many changed copies of one example are held at once."""
    return max(min(_NUMBERS // x[0].numel(), 256), 1)
