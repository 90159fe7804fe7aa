"""The SPSA attack: Adam on simultaneous perturbations of all coordinates, from scores (Uesato et al. 2018, "Adversarial Risk
and the Dangers of Evaluating Against Weak Attacks", sec. 4.2 and algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.differences import antithetic_gradient
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8


@register("spsa", title="SPSA", access="scores", threats=("*",), paper="Uesato et al. 2018, alg. 1")
@dataclass(frozen=True)
class SPSA(Attack):
    """Projected Adam on mean (margin difference) * (vector of random signs), antithetic pairs.

    queries: model rows per example, everything included. pairs: antithetic pairs per gradient, two rows each; a step costs
    one row more, which sees whether the point succeeds. delta: size of every coordinate's perturbation, in the points'
    units. learning_rate: Adam's (default 2.5 * epsilon / steps).
    """

    queries: int = 5000
    pairs: int = 25
    delta: float = 0.01
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, pairs=self.pairs)
        positive(delta=self.delta)
        if self.learning_rate is not None:
            positive(learning_rate=self.learning_rate)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries = Queries(model, batch, threat, self.queries)
        rows, points = torch.arange(len(batch), device=batch.x.device), threat.start(batch.x)
        steps = (self.queries - 1) // (2 * self.pairs + 1)
        rate = self.learning_rate if self.learning_rate is not None else 2.5 * threat.epsilon / max(steps, 1)
        first, second = torch.zeros_like(points), torch.zeros_like(points)
        for step in range(steps + 1):
            if not len(rows):
                break
            rows = rows[~queries.success(rows, points[rows])]
            if step == steps or not len(rows):
                break
            part = batch[rows].fork(step)
            directions = part.draws.signs(self.pairs, *points.shape[1:]).to(points)
            gradient = antithetic_gradient(queries, rows, points[rows], directions, self.delta, margin)
            first[rows] = _BETA_1 * first[rows] + (1 - _BETA_1) * gradient
            second[rows] = _BETA_2 * second[rows] + (1 - _BETA_2) * gradient.square()
            mean, square = first[rows] / (1 - _BETA_1 ** (step + 1)), second[rows] / (1 - _BETA_2 ** (step + 1))
            points[rows] = threat.project(part.x, points[rows] + rate * mean / (square.sqrt() + _TINY))
        return points
