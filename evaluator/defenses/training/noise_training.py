"""Noise augmentation: the base classifier of randomized smoothing sees the noise it will be asked under."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from evaluator.defenses.training.method import Loss, Method, Minibatch


@dataclass(frozen=True)
class NoiseTraining(Method):
    """Cross-entropy at x + N(0, sigma^2 I), one draw per image and step (Cohen et al. 2019, sec. 3.3)."""

    sigma: float

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        noise = batch.draws.normal(*batch.x.shape[1:]).to(batch.x.dtype)
        logits = network(batch.x + self.sigma * batch.strength * noise)
        return Loss(functional.cross_entropy(logits, batch.y), logits)
