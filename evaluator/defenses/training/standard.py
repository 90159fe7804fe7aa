"""Standard training: the cross-entropy on clean inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from evaluator.defenses.training.method import Loss, Method, Minibatch


@dataclass(frozen=True)
class StandardTraining(Method):
    """min E[L(f(x), y)]: accurate, and with no defense at all."""

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        logits = network(batch.x)
        return Loss(functional.cross_entropy(logits, batch.y), logits)
