"""Whether the copy of a model that was searched is, at the end of the search, the model that a fresh copy is.

A model that changes with time, or with the number of its answers, would be searched as one network and verified as another:
every claim may hold on the young copy, and what stands is what the search lost its way on. Both copies are asked about points
that neither was asked before, so that no memory of earlier answers helps.
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
class LastAnswers:
    """The last thing that the searched copy was asked, and what it said: inputs (2n, *shape) in [0, 1], logits (2n, K)."""

    inputs: Tensor
    logits: Tensor

    @classmethod
    def of(cls, searched: Model, examples: Examples, threat: Threat, seed: int) -> LastAnswers:
        """Asks about the first examples, in one pass that can be repeated as it was. seed: secret, of the random points."""
        part = examples[:SAMPLE]
        points = threat.random_start(part.x, Draws(seed, part.ids).fork("last answers"))
        inputs = torch.cat([part.x, threat.apply(part.x, points).float()])
        return cls(inputs, _answers(searched, inputs))

    def flags(self, fresh: Model) -> list[Flag]:
        """Asks a fresh copy the same: a flag where answers differ by more than repeated ones may (`evaluator.checks.base`)."""
        moved = int(different(self.logits, _answers(fresh, self.inputs)).sum())
        evidence = f"{moved} of {len(self.inputs)} inputs were answered differently after the search and by a fresh copy."
        return [Flag(check="drift", severity="unverified", evidence=evidence)] if moved else []


def _answers(model: Model, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(x)
    return logits
