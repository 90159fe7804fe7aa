"""Square attack: random search over square windows (Andriushchenko et al. 2020, "Square Attack: a query-efficient
black-box adversarial attack via random search", algorithms 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.registry import register
from evaluator.attacks.square_windows import l2_search, linf_search
from evaluator.attacks.validation import at_least, positive
from evaluator.errors import InputError
from evaluator.models.access import scores
from evaluator.threats.base import Threat

_SEARCHES = {"linf": linf_search, "l2": l2_search}
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries (section 5, "schedule of p")
_BLOCK = 64  # steps whose random numbers are drawn in one call


@register(
    "square", title="Square attack", access="scores", threats=("linf", "l2"), paper="Andriushchenko et al. 2020, alg. 1-3"
)
@dataclass(frozen=True)
class Square(Attack):
    """Keeps a random change of one square window when it raises the margin loss; windows shrink on a fixed schedule.

    queries: model rows per example and restart, the first point included (there is no clean pass). restarts: independent
    runs; an example leaves at its first success. p_init: share of the image that the first windows cover, halved at
    fixed shares of the queries. Every example draws its own window. hopeless: (queries, share); an example whose margin after
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
        points, result, best, fell, first = points.clone(), points.clone(), values.clone(), success.clone(), values.clone()
        active = torch.arange(len(batch), device=batch.x.device)
        numbers = torch.empty(0)
        for step in range(self.queries - 1):
            leaves = success
            if self.hopeless is not None and step + 1 == self.hopeless[0]:
                leaves = success | (values < self.hopeless[1] * first)
            if bool(leaves.any()):
                done, keep = active[leaves], ~leaves
                result[done], best[done], fell[done] = points[leaves], values[leaves], success[leaves]
                batch, search, active, first = batch[keep], search[keep], active[keep], first[keep]
                points, values, numbers = points[keep], values[keep], numbers[keep] if step % _BLOCK else numbers
            if not len(batch):
                return result, best, fell
            if step % _BLOCK == 0:
                numbers = batch.draws.uniform(_BLOCK, search.numbers)
            candidate = search.propose(points, numbers[:, step % _BLOCK], self._share(step))
            logits = scores(model, threat.apply(batch.x, candidate))
            candidate_values, success = margin(logits, batch), batch.success(logits)
            better = (success | (candidate_values > values)).nonzero().squeeze(1)
            points[better], values[better] = candidate[better], candidate_values[better]  # few rows, not the whole batch
        result[active], best[active], fell[active] = points, values, success
        return result, best, fell

    def _share(self, step: int) -> float:
        """p of this step: the share of the image that a window covers."""
        progress = step * 10_000 // self.queries
        return float(self.p_init / 2 ** sum(progress > at for at in _HALVINGS))
