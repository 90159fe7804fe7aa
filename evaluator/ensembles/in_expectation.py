"""The search under a physical threat: climbs of the mean over views, judged by the share of fresh views that succeed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.over_views import OverViews
from evaluator.adaptive.relentless import Relentless
from evaluator.attacks.base import Batch
from evaluator.attacks.rows import choose
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.sequence import Stage
from evaluator.ensembles.tally import Tally
from evaluator.meter import MeteredModel
from evaluator.report import AttackRecord
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical

_DEVIATIONS = 3.0  # how far above the threshold a share must be for the search to move on to other examples

CLIMBS = (
    Stage("EOT-8 PGD-40, margin", OverViews(Relentless(steps=40, loss="margin"), seed=1)),
    Stage("EOT-8 PGD-40, cross-entropy", OverViews(Relentless(steps=40, loss="ce"), seed=2)),
    Stage("EOT-8 PGD-40, margin, again", OverViews(Relentless(steps=40, loss="margin"), seed=3)),
    Stage("EOT-16 PGD-100, margin", OverViews(Relentless(steps=100, loss="margin"), samples=16, seed=4)),
)


@dataclass(frozen=True)
class InExpectation:
    """Runs `climbs` in order. An example leaves when its share of views is clearly above the threshold.

    Of those that are never clear the point with the largest share is kept, and claimed where that share reaches the
    threshold: verification draws other views and decides. slice_examples: how many examples are in play at once.
    """

    climbs: tuple[Stage, ...] = CLIMBS
    slice_examples: int = 250
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        assert isinstance(threat, Physical)
        points = threat.start(batch.x)
        share = torch.full((len(batch),), -1.0, dtype=torch.float64, device=batch.x.device)
        by = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        tallies = [Tally() for _ in self.climbs]
        for first in range(0, len(batch), self.slice_examples):
            rows = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            for number, stage in enumerate(self.climbs):
                active = rows[~_clear(share[rows], threat)]
                observe(Step(stage.name, first + len(rows) - len(active), int((share < threat.threshold).sum())))
                if not len(active):
                    break
                part = batch[active].fork(stage.name)
                with tallies[number].spending(model.meter):
                    found = stage.attack.run(model, part, threat)
                    reached = _judged(model, part, threat, found)
                better = reached > share[active]
                points[active] = choose(better, found, points[active])
                by[active] = torch.where(better, number, by[active])
                share[active] = torch.where(better, reached, share[active])
                tallies[number].tried += len(active)
        return self._search(points, torch.where(share >= threat.threshold, by, -1), tallies)

    def _search(self, points: Tensor, broken_by: Tensor, tallies: list[Tally]) -> Search:
        survivors, records = len(broken_by), []
        for number, (stage, tally) in enumerate(zip(self.climbs, tallies, strict=True)):
            tally.broken = int((broken_by == number).sum())
            survivors -= tally.broken
            records.append(AttackRecord(name=stage.name, survivors=survivors, **vars(tally)))
        return Search(points, broken_by, records)


def _judged(model: MeteredModel, batch: Batch, threat: Physical, points: Tensor) -> Tensor:
    """(n,) the share of fresh views, as many as in a verdict, on which each point succeeds; -1 outside the threat."""
    share = threat.expectation(model, batch.x, points, batch.success, batch.draws.fork("views"))
    return torch.where(threat.contains(batch.x, points), share, -1.0)


def _clear(share: Tensor, threat: Physical) -> Tensor:
    """(n,) bool: above the threshold by more than chance, or on every view."""
    room = _DEVIATIONS * (share * (1 - share) / threat.samples).clamp_min(0).sqrt()
    return (share >= 1) | (share - room >= threat.threshold)
