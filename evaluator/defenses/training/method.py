"""The training protocol: a method turns a minibatch into the loss that the optimiser descends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from evaluator.draws import Draws


@dataclass(frozen=True)
class Minibatch:
    """x: (n, C, H, W) float32 in [0, 1]; y: (n,) int64; draws: one random stream per example.

    strength: share in (0, 1] of the full perturbation budget to train against now (the warm-up raises it to 1).
    """

    x: Tensor
    y: Tensor
    draws: Draws
    strength: float = 1.0


@dataclass(frozen=True)
class Loss:
    """value: scalar to descend; logits: (n, K) on the inputs that were trained on."""

    value: Tensor
    logits: Tensor


class Method(ABC):
    """Base of every training method. Subclasses are frozen dataclasses of hyperparameters."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        """The loss on one minibatch, differentiable in the network's weights."""
