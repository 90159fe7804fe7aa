"""The NES attack: projected gradient ascent on a search gradient from scores (Ilyas et al. 2018, "Black-box Adversarial
Attacks with Limited Queries and Information", sec. 2.2 and 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.differences import climb_by_differences, steps_of
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, positive
from evaluator.draws import Draws
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
        size, velocity = self.step_size, torch.zeros_like(threat.start(batch.x))
        if size is None:
            size = 2.5 * threat.epsilon / max(steps_of(self.queries, self.pairs), 1)

        def move(rows: Tensor, gradient: Tensor, step: int) -> Tensor:
            velocity[rows] = self.momentum * velocity[rows] + (1 - self.momentum) * gradient
            return threat.steepest_step(velocity[rows], size)

        return climb_by_differences(
            model, batch, threat, move, queries=self.queries, pairs=self.pairs, h=self.sigma, noise=Draws.normal
        )
