"""What the inner maximisation of adversarial training needs: the warmed-up threat and the loss's gradient at a point.

Unlike an attack, training never stops early. An example that is misclassified already is pushed on, since the outer problem
needs the maximiser of the loss, not just any success.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.defenses.training.method import Minibatch
from evaluator.threats.base import Threat


def warmed(threat: Threat, strength: float) -> Threat:
    """The threat with `strength` of its budget."""
    smaller: Threat = dataclasses.replace(threat, epsilon=threat.epsilon * strength)  # type: ignore[type-var]
    return smaller


def input_gradient(network: nn.Module, batch: Minibatch, threat: Threat, points: Tensor) -> Tensor:
    """(n, ...) gradient of each example's cross-entropy with respect to its point."""
    leaf = points.detach().requires_grad_(True)
    loss = functional.cross_entropy(network(threat.apply(batch.x, leaf)), batch.y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient
