"""CROWN-IBP: interval bounds for the neurons, one backward linear relaxation for the margins (Zhang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from evaluator.certify.ibp import interval_margins, margin_rows
from evaluator.certify.inputs import InputSet
from evaluator.certify.relaxation import Relaxation, backward_bound
from evaluator.defenses.training.ibp_training import bounded, robust_loss
from evaluator.defenses.training.method import Loss, Method, Minibatch


@dataclass(frozen=True)
class CrownIBPTraining(Method):
    """kappa * natural loss + (1 - kappa) * loss of beta * CROWN-IBP margins + (1 - beta) * interval margins, Linf `epsilon`.

    beta falls from 1 to 0 over the warm-up: the tighter bound steers the start of training, where intervals are too loose
    to learn from. At the full budget the cheaper intervals train as well (their section 3). kappa as in IBP training.
    """

    epsilon: float
    natural: float = 0.5

    def loss(self, network: nn.Module, batch: Minibatch) -> Loss:
        logits = network(batch.x)
        graph, known = bounded(network, batch, self.epsilon)
        margins = interval_margins(graph, known, batch.y)
        if batch.strength < 1:
            relus = {i: known[graph.nodes[i].inputs[0]] for i in graph.relus()}
            rows = margin_rows(batch.y, logits.shape[1], batch.x.dtype)
            inputs = InputSet(batch.x, self.epsilon * batch.strength, "linf")
            relaxed = backward_bound(graph, len(graph) - 1, rows, inputs, Relaxation(relus))
            margins = (1 - batch.strength) * relaxed + batch.strength * margins
        kappa = 1 - (1 - self.natural) * batch.strength
        value = kappa * functional.cross_entropy(logits, batch.y) + (1 - kappa) * robust_loss(margins, batch.y)
        return Loss(value, logits)
