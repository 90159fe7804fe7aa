"""The search of an attacker who sees scores or labels alone, and may ask so many questions about each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.geoda import GeoDA
from evaluator.attacks.gradients import glance
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.nes import NES
from evaluator.attacks.patch_rs import PatchRS
from evaluator.attacks.random_search import RandomSearch
from evaluator.attacks.rows import choose
from evaluator.attacks.simba import SimBA
from evaluator.attacks.sparse_rs import SparseRS
from evaluator.attacks.square import Square
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.sequence import Stage
from evaluator.ensembles.tally import Tally
from evaluator.models.asked import Asked
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat

LABELS = "labels"


def attackers(level: str, queries: int, *, inside: bool) -> tuple[Stage, ...]:
    """The attacks of that access level, each with all the queries.

    inside: only those that ask about nothing outside the threat.
    """
    scores = (
        Stage("Square", Square(queries=queries)),
        Stage("Sparse-RS", SparseRS(queries=queries)),
        Stage("Patch-RS", PatchRS(queries=queries)),
        Stage("SimBA", SimBA(queries=queries)),
        Stage("random search", RandomSearch(queries=queries)),
    )
    beyond = (Stage("NES", NES(queries=queries)),)
    labels = (Stage("HopSkipJump", HopSkipJump(queries=queries)), Stage("GeoDA", GeoDA(queries=queries)))
    if level == LABELS:
        return () if inside else labels
    return scores if inside else (*scores, *beyond, *labels)


@dataclass(frozen=True)
class BlackBox:
    """Every attack of `attackers` in turn on what stands, each with `queries` rows an image: the worst case over attackers.

    An image's number of queries is that of the attack which broke it, up to its first success inside the threat. level, inside:
    see `attackers`. slice_examples: how many images are in play at once.
    """

    level: Literal["scores", "labels"]
    queries: int
    inside: bool
    slice_examples: int = 250
    name: str = "black-box"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        every = attackers(self.level, self.queries, inside=self.inside)
        targeted = batch.target is not None
        stages = [each for each in every if each.attack.can_do(threat) and (each.attack.can_target or not targeted)]
        asked: Model = batch.reading.decisions(model) if self.level == LABELS else model
        points, broken_by = threat.start(batch.x), torch.full_like(batch.y, -1)
        spent, tallies = torch.zeros_like(batch.y), [Tally() for _ in stages]
        for first in range(0, len(batch), self.slice_examples):
            here = torch.arange(first, min(first + self.slice_examples, len(batch)), device=batch.x.device)
            for number, stage in enumerate(stages):
                rows = here[broken_by[here] < 0]
                observe(Step(stage.name, first + len(here) - len(rows), int((broken_by < 0).sum())))
                if not len(rows):
                    break
                part = batch[rows].fork(stage.name)
                account = Asked(part.x, threat)
                with tallies[number].spending(model.meter):
                    found = stage.attack.run(asked, part.counting(account), threat)
                    fell = part.success(glance(model, part, threat, found)) & threat.contains(part.x, found)
                points[rows] = choose(fell, found, points[rows])
                broken_by[rows[fell]] = number
                spent[rows[fell]] = torch.where(account.first > 0, account.first, account.rows)[fell]
                tallies[number].tried += len(rows)
                tallies[number].broken += int(fell.sum())
        survivors, records = len(batch), []
        for stage, tally in zip(stages, tallies, strict=True):
            survivors -= tally.broken
            records.append(AttackRecord(name=stage.name, survivors=survivors, **dataclasses.asdict(tally)))
        return Search(points, broken_by, records, queries=spent)
