"""The search under a physical threat: climbs of the mean over views, judged by the share of fresh views that succeed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.over_views import OverViews
from evaluator.adaptive.relentless import Relentless
from evaluator.attacks.base import Batch
from evaluator.attacks.patch_places import PatchPlaces
from evaluator.attacks.patch_rs import PatchRS
from evaluator.attacks.random_search import RandomSearch
from evaluator.attacks.rows import choose
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.sequence import Stage
from evaluator.ensembles.tally import Tally
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical

_DEVIATIONS = 3.0  # how far above the threshold a share must be for the search to move on to other examples

_NEAR = 0.5  # share of the threshold from which the canary has come near

CLIMBS = (
    Stage("EOT-8 PGD-40, margin", OverViews(Relentless(steps=40, loss="margin"), seed=1)),
    Stage("EOT-8 PGD-40, cross-entropy", OverViews(Relentless(steps=40, loss="ce"), seed=2)),
    Stage("EOT-8 PGD-40, margin, again", OverViews(Relentless(steps=40, loss="margin"), seed=3)),
    Stage("EOT-16 PGD-100, margin", OverViews(Relentless(steps=100, loss="margin"), samples=16, seed=4)),
)
PLACES = Stage(
    "EOT-8 patch at places, coarse to fine",
    OverViews(PatchPlaces(stride=0.25, steps=(2, 4, 40), kept=(4, 2), stop=False), seed=5, apart=True),
)
PATCH_CANARY = Stage("EOT-8 Patch-RS canary", OverViews(PatchRS(queries=300), seed=6, fresh=False))
PATCH_FULL = (
    Stage(
        "full EOT-8 patch at places",
        OverViews(PatchPlaces(stride=0.15, steps=(4, 10, 80), kept=(12, 4), stop=False), seed=7, apart=True),
    ),
    Stage("full EOT-16 Patch-RS", OverViews(PatchRS(queries=1000), samples=16, seed=8, fresh=False)),
)
POINT_CANARY = Stage("EOT-8 random search canary", OverViews(RandomSearch(queries=300), seed=6, fresh=False))
POINT_FULL = (
    Stage("full EOT-16 random search", OverViews(RandomSearch(queries=1000), samples=16, seed=7, fresh=False)),
    Stage("full EOT-16 PGD-200, margin", OverViews(Relentless(steps=200, loss="margin"), samples=16, seed=8)),
)


@dataclass(frozen=True)
class InExpectation:
    """Runs `climbs`, then `canary`, which asks for no gradient, then `full` where the canary sings: where it does better than
    the climbs or reaches half of the threshold. An example leaves when its share of views is clearly above the threshold.

    Of those that are never clear the point with the largest share is kept, and claimed where that share reaches the
    threshold. Verification draws other views and decides. slice_examples: how many examples are in play at once.
    """

    climbs: tuple[Stage, ...] = CLIMBS
    canary: Stage = POINT_CANARY
    full: tuple[Stage, ...] = POINT_FULL
    slice_examples: int = 250
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        assert isinstance(threat, Physical)
        points = threat.start(batch.x)
        share = torch.full((len(batch),), -1.0, dtype=torch.float64, device=batch.x.device)
        by = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        tallies, sings = [Tally() for _ in self._stages], torch.zeros_like(by, dtype=torch.bool)
        for first in range(0, len(batch), self.slice_examples):
            rows = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            for number, stage in enumerate(self._stages):
                active = rows[~_clear(share[rows], threat) & (sings[rows] | (number <= len(self.climbs)))]
                observe(Step(stage.name, first + len(rows) - len(active), int((share < threat.threshold).sum())))
                if not len(active):
                    continue
                part = batch[active].fork(stage.name)
                with tallies[number].spending(model.meter):
                    found = stage.attack.run(model, part, threat)
                    reached = _judged(model, part, threat, found)
                better = reached > share[active]
                if number == len(self.climbs):
                    sings[active] = better | (reached >= _NEAR * threat.threshold)
                points[active] = choose(better, found, points[active])
                by[active] = torch.where(better, number, by[active])
                share[active] = torch.where(better, reached, share[active])
                tallies[number].tried += len(active)
        return self._search(points, torch.where(share >= threat.threshold, by, -1), tallies)

    @property
    def _stages(self) -> tuple[Stage, ...]:
        return (*self.climbs, self.canary, *self.full)

    def _search(self, points: Tensor, broken_by: Tensor, tallies: list[Tally]) -> Search:
        survivors, records = len(broken_by), []
        for number, (stage, tally) in enumerate(zip(self._stages, tallies, strict=True)):
            tally.broken = int((broken_by == number).sum())
            survivors -= tally.broken
            records.append(AttackRecord(name=stage.name, survivors=survivors, **vars(tally)))
        return Search(points, broken_by, records)


def in_expectation(threat: Threat) -> InExpectation:
    """The search for `threat`: a patch is also tried at every place."""
    assert isinstance(threat, Physical)
    if threat.base.search == "patch":
        return InExpectation((*CLIMBS[:2], PLACES, *CLIMBS[2:]), PATCH_CANARY, PATCH_FULL)
    return InExpectation()


def _judged(model: MeteredModel, batch: Batch, threat: Physical, points: Tensor) -> Tensor:
    """(n,) the share of fresh views, as many as in a verdict, on which each point succeeds; -1 outside the threat."""
    share = threat.expectation(model, batch.x, points, batch.success, batch.draws.fork("views"))
    return torch.where(threat.contains(batch.x, points), share, -1.0)


def _clear(share: Tensor, threat: Physical) -> Tensor:
    """(n,) bool: above the threshold by more than chance, or on every view."""
    room = _DEVIATIONS * (share * (1 - share) / threat.samples).clamp_min(0).sqrt()
    return (share >= 1) | (share - room >= threat.threshold)
