"""Models that answer probabilities: their logarithms are logits again, and attack losses have gradients again."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance
from evaluator.models.meter import MeteredModel
from evaluator.records.report import Flag
from evaluator.threats.base import Threat

_SUM = 1e-4
_SMALLEST = torch.finfo(torch.float32).tiny


def are_probabilities(answers: Tensor) -> bool:
    """Whether every row of (n, K) is non-negative and sums to one: the model ends in a softmax."""
    return len(answers) > 0 and bool((answers >= 0).all()) and bool(((answers.sum(dim=1) - 1).abs() < _SUM).all())


def unsquashed(model: Model) -> Model:
    """The same classifier with log p for p: softmax(log p) = p, so these are logits up to a constant per row."""
    return lambda x: model(x).clamp_min(_SMALLEST).log()


def readable(model: MeteredModel, batch: Batch, threat: Threat) -> tuple[MeteredModel, list[Flag]]:
    """The model to climb on: the one given, or its logarithm where it answers probabilities."""
    if not len(batch):
        return model, []
    first = batch[torch.arange(min(len(batch), 32), device=batch.x.device)]
    if not are_probabilities(glance(model, first, threat, threat.start(first.x))):
        return model, []
    evidence = "the model answers probabilities; the attacks climbed on their logarithms."
    return model.through(unsquashed), [Flag(check="softmax-output", severity="info", evidence=evidence)]
