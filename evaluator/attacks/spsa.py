"""The SPSA attack: Adam on simultaneous perturbations of all coordinates, from scores (Uesato et al. 2018, "Adversarial Risk
and the Dangers of Evaluating Against Weak Attacks", sec. 4.2 and algorithm 1)."""

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
        rate, start = self.learning_rate, threat.start(batch.x)
        if rate is None:
            rate = 2.5 * threat.epsilon / max(steps_of(self.queries, self.pairs), 1)
        first, second = torch.zeros_like(start), torch.zeros_like(start)

        def move(rows: Tensor, gradient: Tensor, step: int) -> Tensor:
            first[rows] = _BETA_1 * first[rows] + (1 - _BETA_1) * gradient
            second[rows] = _BETA_2 * second[rows] + (1 - _BETA_2) * gradient.square()
            mean, square = first[rows] / (1 - _BETA_1 ** (step + 1)), second[rows] / (1 - _BETA_2 ** (step + 1))
            return rate * mean / (square.sqrt() + _TINY)

        return climb_by_differences(
            model, batch, threat, move, queries=self.queries, pairs=self.pairs, h=self.delta, noise=Draws.signs
        )
