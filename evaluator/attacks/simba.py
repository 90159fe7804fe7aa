"""SimBA: one random direction of a basis at a time, from scores (Guo et al. 2019, "Simple Black-box Adversarial Attacks",
algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat


@register("simba", title="SimBA", access="scores", threats=("linf", "l2", "l1"), paper="Guo et al. 2019, alg. 1")
@dataclass(frozen=True)
class SimBA(Attack):
    """Moves one random coordinate up, else down, by a fixed step, and keeps what raises the margin loss, inside the threat.

    queries: model rows per example, the clean look included. step: of a coordinate, in [0, 1] units (default: epsilon under
    Linf, else a fifth of epsilon, at most 1). Every coordinate is tried once before any is tried again.
    """

    queries: int = 2000
    step: float | None = None

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries)
        if self.step is not None:
            positive(step=self.step)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries, best = Queries(model, batch, threat, self.queries), batch.x.clone()
        rows = torch.arange(len(batch), device=batch.x.device)
        if not len(rows):
            return best
        usual = threat.epsilon if threat.kind == "linf" else min(threat.epsilon / 5, 1.0)
        size, coordinates = usual if self.step is None else self.step, flat(best).shape[1]
        loss, fell = queries.judge(rows, best, margin)
        rows, number, order = rows[~fell], 0, torch.zeros(0)
        while len(rows := queries.affordable(rows, 2)):
            place = number % coordinates
            if place == 0:
                order = batch.draws.fork(number).uniform(coordinates).argsort(dim=1, stable=True)
            open_ = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            for sign in (1.0, -1.0):
                asking = rows[open_]
                if not len(asking):
                    break
                move = torch.zeros_like(flat(best[asking])).scatter_(1, order[asking, place : place + 1], sign * size)
                points = threat.project(batch.x[asking], best[asking] + move.reshape(best[asking].shape))
                values, success = queries.judge(asking, points, margin)
                better = success | (values > loss[asking])
                best[asking] = choose(better, points, best[asking])
                loss[asking] = torch.where(better, values, loss[asking])
                fell[asking] |= success
                open_[open_.clone()] = ~better
            rows, number = rows[~fell[rows]], number + 1
        return best
