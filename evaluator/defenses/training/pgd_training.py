"""Adversarial training with projected gradient descent (Madry et al. 2018, sec. 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.training.inner import input_gradient, warmed
from evaluator.defenses.training.method import Loss, Method, Minibatch
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class PGDTraining(Method):
    """min E[max_{x~ in P(x)} L(f(x~), y)], the inner maximum sought by PGD from a random start.

    By Danskin's theorem the gradient at the inner maximiser descends the outer problem. steps: inner steps; step_size: in
    the threat's units at full strength.
    """

    threat: Threat
    steps: int
    step_size: float

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        logits = network(self._maximise(network, batch))
        return Loss(functional.cross_entropy(logits, batch.y), logits)

    def _maximise(self, network: nn.Module, batch: Minibatch) -> Tensor:
        threat = warmed(self.threat, batch.strength)
        points = threat.random_start(batch.x, batch.draws)
        for _ in range(self.steps):
            gradient = input_gradient(network, batch, threat, points)
            points = threat.project(batch.x, points + threat.steepest_step(gradient, self.step_size * batch.strength))
        return threat.apply(batch.x, points)
