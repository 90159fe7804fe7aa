"""Adversarial training with the fast gradient method (Goodfellow et al. 2015, sec. 6)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from evaluator.defenses.training.inner import input_gradient, warmed
from evaluator.defenses.training.method import Loss, Method, Minibatch
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class FGSMTraining(Method):
    """Trains on one-step adversarial inputs of the whole budget, without a random start.

    Known to fail by catastrophic overfitting (Wong et al. 2020, sec. 5): the network learns to mislead the one step that it
    is trained against. It is here as a baseline for the checks that must notice.
    """

    threat: Threat

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        threat = warmed(self.threat, batch.strength)
        start = threat.start(batch.x)
        gradient = input_gradient(network, batch, threat, start)
        points = threat.project(batch.x, start + threat.steepest_step(gradient, threat.epsilon))
        logits = network(threat.apply(batch.x, points))
        return Loss(functional.cross_entropy(logits, batch.y), logits)
