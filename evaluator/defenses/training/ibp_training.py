"""Training for interval bounds: descend the loss of the worst logits that the bounds allow (Gowal et al. 2018, sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluator.certify.graph import Graph
from evaluator.certify.ibp import Bounds, interval_margins, propagate
from evaluator.certify.inputs import InputSet
from evaluator.certify.tracing import trace
from evaluator.defenses.training.method import Loss, Method, Minibatch


@dataclass(frozen=True)
class IBPTraining(Method):
    """kappa * natural loss + (1 - kappa) * loss of the worst logits, Linf `epsilon`.

    Both the budget and the weight of the worst case grow with the warm-up: kappa falls from 1 to `natural`. Train with a
    long budget warm-up, or the bounds explode before the weights can follow.
    """

    epsilon: float
    natural: float = 0.5

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        logits = network(batch.x)
        graph, known = bounded(network, batch, self.epsilon)
        worst = robust_loss(interval_margins(graph, known, batch.y), batch.y)
        kappa = 1 - (1 - self.natural) * batch.strength
        return Loss(kappa * functional.cross_entropy(logits, batch.y) + (1 - kappa) * worst, logits)


def bounded(network: nn.Module, batch: Minibatch, epsilon: float) -> tuple[Graph, dict[int, Bounds]]:
    """The network as a graph on its live parameters, and interval bounds of every node at the warmed-up budget."""
    graph = trace(network, tuple(batch.x.shape[1:]), dtype=batch.x.dtype, attached=True)
    return graph, propagate(graph, InputSet(batch.x, epsilon * batch.strength, "linf"))


def robust_loss(margins: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the logits that proved margins (n, K - 1) allow: 0 for y and -margin for each rival."""
    worst = torch.cat([margins.new_zeros(len(y), 1), -margins], dim=1)
    return functional.cross_entropy(worst, torch.zeros_like(y))
