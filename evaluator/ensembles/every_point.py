"""A finite threat is not climbed but tried out: every point, so that a survivor is robust in the exact sense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.losses import margin
from evaluator.attacks.rows import choose
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.tally import Tally
from evaluator.models.access import scores
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat
from evaluator.threats.corruptions import Corruptions


@dataclass(frozen=True)
class EveryPoint:
    """Asks about every corrupted form of every example, also of those that have fallen: the table of errors needs them all.

    An example falls to the first kind, in the threat's order, that is misclassified at some severity; the mildest one is
    claimed. A survivor's point is the one with the smallest margin. slice_examples: how many are in play at once.
    """

    slice_examples: int = 250
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        assert isinstance(threat, Corruptions)
        points = threat.start(batch.x)
        fallen = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        closest = torch.full((len(batch),), -torch.inf, device=batch.x.device)
        errors = torch.zeros(len(batch), len(threat.kinds), len(threat.severities), dtype=torch.bool, device=batch.x.device)
        tallies = [Tally(tried=len(batch)) for _ in threat.kinds]
        for first in range(0, len(batch), self.slice_examples):
            here = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            part = batch[here]
            for point in threat.points(part.x):
                number, severity, realization = (int(value) for value in point[0])
                settled = first + int((fallen[here] >= 0).sum())
                observe(Step(threat.kinds[number - 1], settled, len(batch) - int((fallen >= 0).sum())))
                with tallies[number - 1].spending(model.meter):
                    logits = scores(model, threat.apply(part.x, point))
                if realization == 0:
                    errors[here, number - 1, severity - threat.severities[0]] = part.reading.labels(logits) != part.y
                success, lead = part.success(logits), margin(logits, part)
                stands = fallen[here] < 0
                better = stands & (success | (lead > closest[here]))
                points[here] = choose(better, point, points[here])
                closest[here] = torch.where(better, lead, closest[here])
                fallen[here[success & stands]] = number - 1
        return Search(points, fallen, _records(threat, tallies, fallen), errors=errors)


def corruption_errors(
    said: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    threat: Corruptions,
    *,
    slice_examples: int = 250,
) -> Tensor:
    """(n, kinds, severities) bool: which corrupted forms, in their first realization, are not given the true class.

    said(inputs, truth) -> (m,) int64 classes, -1 where refused. x (n, C, H, W), y (n,).
    """
    errors = torch.zeros(len(x), len(threat.kinds), len(threat.severities), dtype=torch.bool, device=x.device)
    for first in range(0, len(x), slice_examples):
        part, truth = x[first : first + slice_examples], y[first : first + slice_examples]
        for point in threat.points(part):
            number, severity, realization = (int(value) for value in point[0])
            if realization == 0:
                wrong = said(threat.apply(part, point), truth) != truth
                errors[first : first + len(part), number - 1, severity - threat.severities[0]] = wrong
    return errors


def _records(threat: Corruptions, tallies: list[Tally], fallen: Tensor) -> list[AttackRecord]:
    """One record for each kind, in the threat's order."""
    survivors, records = len(fallen), []
    for number, (kind, tally) in enumerate(zip(threat.kinds, tallies, strict=True)):
        tally.broken = int((fallen == number).sum())
        survivors -= tally.broken
        records.append(AttackRecord(name=kind, survivors=survivors, **vars(tally)))
    return records
