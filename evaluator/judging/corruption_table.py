"""Which corrupted forms a model gets wrong: what the search has asked already, and the rest of the examples.

A search of corruptions asks about examples that are classified correctly as they are. An error rate counts all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.data.standard_errors import standard_errors
from evaluator.data.tensors import Examples
from evaluator.ensembles.every_point import corruption_errors
from evaluator.models.meter import MeteredModel
from evaluator.records.corruption_record import corruption_record
from evaluator.records.report import CorruptionRecord
from evaluator.threats.corruptions import Corruptions
from evaluator.wanted import Wanted


def table_of(model: MeteredModel, batch: Batch, clean: Tensor, searched: Tensor | None, threat: Corruptions) -> Tensor:
    """(n, kinds, severities) bool: the corrupted forms that are not given their true class.

    clean: (n,) bool, correct as they are; searched: (m, kinds, severities) what the search saw of those, None where it asked
    about something else. Answers are read as they are declared.
    """
    errors = torch.zeros(len(batch), len(threat.kinds), len(threat.severities), dtype=torch.bool, device=batch.x.device)
    asked = torch.ones_like(clean) if searched is None else ~clean
    if searched is not None:
        errors[clean] = searched

    def said(x: Tensor, y: Tensor) -> Tensor:
        return batch.reading.read(model, x, Wanted(y), model.classes).labels

    errors[asked] = corruption_errors(said, batch.x[asked], batch.y[asked], threat)
    return errors


def tabulated(errors: Tensor, correct: Tensor, examples: Examples, threat: Corruptions) -> CorruptionRecord:
    """The record of a table of errors (n, kinds, severities) bool, beside the standard network's on the same images.

    correct: (n,) bool, given their true class as they are.
    """
    return corruption_record(
        threat.kinds,
        threat.severities,
        examples=len(examples),
        clean_errors=int((~correct).sum()),
        errors=errors.sum(dim=0).tolist(),
        standard=standard_errors(examples.digest, examples.ids.tolist(), threat.kinds, threat.severities),
    )
