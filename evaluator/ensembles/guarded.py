"""Gradient climbs, a canary that needs no gradient, and a full search wherever the canary sings: for any threat."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance
from evaluator.attacks.losses import margin
from evaluator.attacks.rows import choose
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.grid_climb import fallen_as_files
from evaluator.ensembles.outputs import readable
from evaluator.ensembles.sequence import Stage
from evaluator.ensembles.tally import Tally
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord, Flag
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Guarded:
    """`climbs` and then `canary` on every example still standing, then `full` where the canary sings.

    The canary moves the threat's own points and asks for no gradient. It sings for an example when it comes nearer to the
    boundary than all climbs did, or when anything left less than `near` of the clean margin. A random share `audit` of the
    others is searched in full too. So who is searched depends on the example alone, not on its neighbors. Under a threat
    where random search is the better guide (a few pixels, a rotation) that is nearly everybody, and no sign of masking.
    gain: by how much of the clean margin the canary must come nearer. masking: the canary is worse than climbs on every
    honest network of this kind, so that breaking what they left means that gradients are hidden. slice_examples: how many
    examples are in play at once.
    """

    climbs: tuple[Stage, ...]
    canary: Stage
    full: tuple[Stage, ...]
    near: float = 0.5
    audit: float = 0.05
    gain: float = 0.0
    masking: bool = False
    slice_examples: int = 250
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        asked, flags = readable(model, batch, threat)
        stages = (*self.climbs, self.canary, *self.full)
        hunt = _Hunt(asked, batch, threat, stages)
        doubted = batch.draws.fork("audit").uniform(1).squeeze(1) < self.audit
        for first in range(0, len(batch), self.slice_examples):
            rows = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            clean = hunt.margins(rows, hunt.points[rows])
            sings = doubted[rows]
            for number in range(len(stages)):
                chosen = rows if number <= len(self.climbs) else rows[sings]
                before = hunt.margin[rows].clone()
                standing = chosen[hunt.broken_by[chosen] < 0]
                gone = int((hunt.broken_by >= 0).sum())
                settled = first + int((hunt.broken_by[rows] >= 0).sum())
                observe(Step(stages[number].name, settled, len(batch) - gone))
                if len(standing):
                    hunt.attempt(number, standing)
                if number == len(self.climbs):
                    sings = sings | (hunt.margin[rows] < before - self.gain * clean) | (hunt.margin[rows] < self.near * clean)
        records = hunt.records()
        sang = records[len(self.climbs)]
        if self.masking and sang.broken >= max(2, math.ceil(0.002 * len(batch))):
            evidence = (
                f"a black-box search broke {sang.broken} of {sang.tried} examples that the gradient attacks left standing."
            )
            flags = [*flags, Flag(check="black-box-beats-white-box", severity="unverified", evidence=evidence)]
        return Search(hunt.points, hunt.broken_by, records, flags)


class _Hunt:
    """points: (n, ...) the adversarial ones, or those of the smallest `margin` (n,); broken_by: (n,) by which stage."""

    def __init__(self, model: MeteredModel, batch: Batch, threat: Threat, stages: tuple[Stage, ...]) -> None:
        self._model, self._batch, self._threat, self._stages = model, batch, threat, stages
        self._tallies = [Tally() for _ in stages]
        self.points = threat.start(batch.x)
        self.broken_by = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        self.margin = torch.full((len(batch),), torch.inf, device=batch.x.device)

    def margins(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m,) the clean margins of examples `rows`, noted; the first stage pays for the look."""
        part = self._batch[rows]
        with self._tallies[0].spending(self._model.meter):
            logits = glance(self._model, part, self._threat, points)
        self.margin[rows] = -margin(logits, part)
        return self.margin[rows]

    def attempt(self, number: int, rows: Tensor) -> None:
        """Runs one stage on `rows` and judges what it returns on a look of its own."""
        stage, tally = self._stages[number], self._tallies[number]
        part = self._batch[rows].fork(stage.name)
        with tally.spending(self._model.meter):
            found = stage.attack.run(self._model, part, self._threat)
            logits = glance(self._model, part, self._threat, found)
        inside = self._threat.contains(part.x, found)
        success = part.success(logits) & inside
        left = torch.where(inside, -margin(logits, part), torch.inf)
        better = success | (left < self.margin[rows])
        self.points[rows] = choose(better, found, self.points[rows])
        self.margin[rows] = torch.where(better, left, self.margin[rows])
        with tally.spending(self._model.meter):
            fell, twins = fallen_as_files(self._model, part, self._threat, found, ~success)
        self.points[rows[fell]], success[fell] = twins, True
        self.broken_by[rows[success]] = number
        tally.tried += len(rows)
        tally.broken += int(success.sum())

    def records(self) -> list[AttackRecord]:
        """One record per stage, in order."""
        survivors, records = len(self._batch), []
        for stage, tally in zip(self._stages, self._tallies, strict=True):
            survivors -= tally.broken
            records.append(AttackRecord(name=stage.name, survivors=survivors, **vars(tally)))
        return records
