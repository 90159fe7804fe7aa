"""Attacks one after the other, each on the survivors of those before it, a slice of the examples at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from evaluator.attacks.base import Attack, Batch
from evaluator.attacks.gradients import glance
from evaluator.attacks.losses import margin
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.grid_climb import fallen_as_files
from evaluator.ensembles.tally import Tally
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Stage:
    """One attack of a sequence under the name that reports show."""

    name: str
    attack: Attack


@dataclass(frozen=True)
class Sequence:
    """Runs `stages` in order. slice_examples: how many examples are in play at once (memory and progress granularity).

    files: whether the end of every attack that did not break is offered once more as a file would hold it.
    """

    name: str
    stages: tuple[Stage, ...]
    slice_examples: int = 250
    files: bool = False

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        points = threat.start(batch.x)
        broken_by = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        closest = torch.full((len(batch),), -torch.inf, device=batch.x.device)
        tallies = [Tally() for _ in self.stages]
        for first in range(0, len(batch), self.slice_examples):
            here = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            fallen_before = int((broken_by >= 0).sum())
            for index, stage in enumerate(self.stages):
                active = here[broken_by[here] < 0]
                fallen = len(here) - len(active)
                observe(Step(stage.name, first + fallen, len(batch) - fallen_before - fallen))
                if not len(active):
                    break
                part = batch[active].fork(stage.name)
                with tallies[index].spending(model.meter):
                    found = stage.attack.run(model, part, threat)
                    logits, inside = glance(model, part, threat, found), threat.contains(part.x, found)
                success, lead = part.success(logits) & inside, margin(logits, part)
                closer = success | (inside & (lead > closest[active]))
                points[active[closer]], closest[active[closer]] = found[closer], lead[closer]
                tallies[index].tried += len(active)
                if self.files:
                    with tallies[index].spending(model.meter):
                        fell, twins = fallen_as_files(model, part, threat, found, ~success)
                    points[active[fell]], success[fell] = twins, True
                broken_by[active[success]] = index
                tallies[index].broken += int(success.sum())
        return Search(points, broken_by, self._records(tallies, len(batch)))

    def _records(self, tallies: list[Tally], survivors: int) -> list[AttackRecord]:
        records = []
        for stage, tally in zip(self.stages, tallies, strict=True):
            survivors -= tally.broken
            records.append(AttackRecord(name=stage.name, survivors=survivors, **vars(tally)))
        return records
