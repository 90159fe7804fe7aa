"""Whether a model is at the end of a search what it was at the start.

The fresh copy that verifies is as young as the searched one was at first. A model that changes with time, or with the number
of its answers, would be searched as one network and verified as another: what stands is then what the search lost its way on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.checks.base import different
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.report import Flag
from evaluator.threats.base import Threat

SAMPLE = 16  # examples that are asked about, each as it is and as a random point of the threat


@dataclass(frozen=True)
class Opening:
    """The first thing that a model was asked, and what it said: inputs (2n, *shape) in [0, 1], logits (2n, K)."""

    model: Model
    inputs: Tensor
    logits: Tensor

    @classmethod
    def of(cls, model: Model, examples: Examples, threat: Threat, seed: int) -> Opening:
        """Asks about the first examples, in one pass that can be repeated as it was. seed: secret, of the random points."""
        part = examples[:SAMPLE]
        points = threat.random_start(part.x, Draws(seed, part.ids).fork("opening"))
        inputs = torch.cat([part.x, threat.apply(part.x, points).float()])
        return cls(model, inputs, _answers(model, inputs))

    def flags(self) -> list[Flag]:
        """Asks the same again: a flag where the answers differ by more than repeated ones may (`evaluator.checks.base`)."""
        moved = int(different(self.logits, _answers(self.model, self.inputs)).sum())
        evidence = f"{moved} of {len(self.inputs)} inputs were answered differently at the end of the search."
        return [Flag(check="drift", severity="unverified", evidence=evidence)] if moved else []


def _answers(model: Model, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(x)
    return logits
