"""Square attack: random search over square windows (Andriushchenko et al. 2020, "Square Attack: a query-efficient
black-box adversarial attack via random search", algorithms 1 to 3; for L1 Croce and Hein 2021, "Mind the Box", sec. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Active
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.registry import register
from evaluator.attacks.square_mass import l1_search, l2_search
from evaluator.attacks.square_windows import WindowSearch, linf_search
from evaluator.attacks.validation import at_least, positive
from evaluator.errors import InputError
from evaluator.models.access import scores
from evaluator.threats.base import Threat

_SEARCHES = {"linf": linf_search, "l2": l2_search, "l1": l1_search}
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries (section 5, "schedule of p")
_BLOCK = 64  # steps whose random numbers are drawn in one call


@dataclass
class _State(Active):
    """points, values: the best so far and its margin; success: of the last candidate; first: the margin of the first points;
    numbers: random ones for the next steps."""

    search: WindowSearch
    points: Tensor
    values: Tensor
    success: Tensor
    first: Tensor
    numbers: Tensor


@register(
    "square",
    title="Square attack",
    access="scores",
    threats=("linf", "l2", "l1"),
    paper="Andriushchenko et al. 2020, alg. 1-3; L1: Croce and Hein 2021, sec. 5",
)
@dataclass(frozen=True)
class Square(Attack):
    """Keeps a random change of one square window when it raises the margin loss; windows shrink on a fixed schedule.

    queries: model rows per example and restart, the first point included (there is no clean pass). restarts: independent
    runs; an example leaves at its first success. p_init: share of the image that the first windows cover, halved at
    fixed shares of the queries. Every example draws its own window. hopeless: (queries, share). An example whose margin after
    so many queries is still above that share of its first one leaves with the best point found. None: every query is spent.
    """

    queries: int = 5000
    restarts: int = 1
    p_init: float = 0.8
    hopeless: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, restarts=self.restarts)
        positive(p_init=self.p_init)
        if self.hopeless is not None:
            at_least(1, hopeless_queries=self.hopeless[0])
            positive(hopeless_share=self.hopeless[1])
        if self.p_init > 1:
            raise InputError(f"p_init is a share of the image and at most 1, got {self.p_init}.")

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        loss = torch.full((len(batch),), -torch.inf, device=batch.x.device)
        active = torch.arange(len(batch), device=batch.x.device)
        for restart in range(self.restarts):
            if not len(active):
                break
            points, values, fell = self._restart(model, batch[active].fork(restart), threat)
            better = fell | (values > loss[active])
            best[active[better]], loss[active[better]] = points[better], values[better]
            active = active[~fell]
        return best

    def _restart(self, model: Model, batch: Batch, threat: Threat) -> tuple[Tensor, Tensor, Tensor]:
        """One random search for every example: (points, their margins (n,), which ones succeeded (n,))."""
        search = _SEARCHES[threat.kind](batch.x, threat)
        points = search.first(batch.draws)
        logits = scores(model, threat.apply(batch.x, points))
        values, success = margin(logits, batch), batch.success(logits)
        batch.count(points, success)
        result, best, fell = points.clone(), values.clone(), success.clone()
        none = torch.zeros(len(batch), 0, device=batch.x.device)
        now = _State(batch, search, points.clone(), values, success, values.clone(), none)
        for step in range(self.queries - 1):
            leaves = now.success
            if self.hopeless is not None and step + 1 == self.hopeless[0]:
                leaves = leaves | (now.values < self.hopeless[1] * now.first)
            if bool(leaves.any()):
                done = now.at[leaves]
                result[done], best[done], fell[done] = now.points[leaves], now.values[leaves], now.success[leaves]
                now.drop(leaves)
            if not len(now):
                return result, best, fell
            if step % _BLOCK == 0:
                now.numbers = now.batch.draws.uniform(_BLOCK, now.search.numbers)
            candidate = now.search.propose(now.points, now.numbers[:, step % _BLOCK], self._share(step))
            logits = scores(model, threat.apply(now.batch.x, candidate))
            values, now.success = margin(logits, now.batch), now.batch.success(logits)
            now.batch.count(candidate, now.success)
            better = (now.success | (values > now.values)).nonzero().squeeze(1)
            now.points[better], now.values[better] = candidate[better], values[better]  # few rows, not the whole batch
        result[now.at], best[now.at], fell[now.at] = now.points, now.values, now.success
        return result, best, fell

    def _share(self, step: int) -> float:
        """p of this step: the share of the image that a window covers."""
        progress = step * 10_000 // self.queries
        return float(self.p_init / 2 ** sum(progress > at for at in _HALVINGS))
