"""The NES attack: projected gradient ascent on a search gradient from scores (Ilyas et al. 2018, "Black-box Adversarial
Attacks with Limited Queries and Information", sec. 2.2 and 2.3)."""

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


@register("nes", title="NES", access="scores", threats=("*",), paper="Ilyas et al. 2018, alg. 1")
@dataclass(frozen=True)
class NES(Attack):
    """PGD whose gradient is the mean of (margin difference) * (Gaussian direction), antithetic pairs, with momentum.

    queries: model rows per example, everything included. pairs: antithetic pairs per gradient, two rows each; a step costs
    one row more, which sees whether the point succeeds. sigma: deviation of the directions in the points' units.
    step_size: in the threat's units (default 2.5 * epsilon / steps). momentum: share kept of the previous gradients.
    """

    queries: int = 5000
    pairs: int = 25
    sigma: float = 1e-3
    step_size: float | None = None
    momentum: float = 0.9

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, pairs=self.pairs)
        positive(sigma=self.sigma)
        if self.step_size is not None:
            positive(step_size=self.step_size)
        at_least(0, momentum=self.momentum)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries = Queries(model, batch, threat, self.queries)
        rows, points = torch.arange(len(batch), device=batch.x.device), threat.start(batch.x)
        steps = (self.queries - 1) // (2 * self.pairs + 1)
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / max(steps, 1)
        velocity = torch.zeros_like(points)
        for step in range(steps + 1):
            if not len(rows):
                break
            rows = rows[~queries.success(rows, points[rows])]
            if step == steps or not len(rows):
                break
            part = batch[rows].fork(step)
            directions = part.draws.normal(self.pairs, *points.shape[1:]).to(points)
            gradient = antithetic_gradient(queries, rows, points[rows], directions, self.sigma, margin)
            velocity[rows] = self.momentum * velocity[rows] + (1 - self.momentum) * gradient
            points[rows] = threat.project(part.x, points[rows] + threat.steepest_step(velocity[rows], size))
        return points
