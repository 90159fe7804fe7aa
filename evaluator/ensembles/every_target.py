"""Every other class in turn: the search for any wrong class, and then one that steers to each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance, ranked_classes
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat

_PREFIX = "to each class: "


@dataclass(frozen=True)
class EveryTarget:
    """`anywhere` first, if any; what stands is given to `aimed` with the likeliest other class as target, then the next.

    An example leaves with the first class that is reached: the worst case counts. The records of `aimed` are sums over all
    classes.
    """

    aimed: Ensemble
    anywhere: Ensemble | None = None

    @property
    def name(self) -> str:
        """That of the search to one class."""
        return self.aimed.name

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        first = _nothing(batch, threat) if self.anywhere is None else self.anywhere.run(model, batch, threat, observe)
        points, broken_by, flags = first.points.clone(), first.broken_by.clone(), {flag.check: flag for flag in first.flags}
        records: list[AttackRecord] = []
        classes = ranked_classes(glance(model, batch, threat, threat.start(batch.x)), batch.y) if len(batch) else None
        for turn in range(model.classes - 1):
            standing = (broken_by < 0).nonzero().squeeze(1)
            part = batch[standing].fork(f"target {turn}")
            target = part.y if classes is None else classes[standing, turn]

            def tell(step: Step, gone: int = len(batch) - len(standing)) -> None:
                observe(Step(f"{_PREFIX}{step.attack}", gone, step.survivors))

            found = self.aimed.run(model, dataclasses.replace(part, target=target), threat, tell)
            fell = found.broken_by >= 0
            points[standing[fell]] = found.points[fell]
            broken_by[standing[fell]] = found.broken_by[fell] + len(first.records)
            records = [_sum(*pair) for pair in zip(records, found.records, strict=True)] if records else found.records
            flags = {flag.check: flag for flag in found.flags} | flags
        return Search(
            points, broken_by, [*first.records, *_renamed(records, int((first.broken_by < 0).sum()))], list(flags.values())
        )


def _nothing(batch: Batch, threat: Threat) -> Search:
    return Search(threat.start(batch.x), torch.full_like(batch.y, -1), [])


def _sum(one: AttackRecord, other: AttackRecord) -> AttackRecord:
    counts = ("tried", "broken", "forward_rows", "backward_rows", "seconds")
    return one.model_copy(update={name: getattr(one, name) + getattr(other, name) for name in counts})


def _renamed(records: list[AttackRecord], survivors: int) -> list[AttackRecord]:
    """The same under names of their own, the survivors counted from those of the first search."""
    named = []
    for record in records:
        survivors -= record.broken
        named.append(record.model_copy(update={"name": f"{_PREFIX}{record.name}", "survivors": survivors}))
    return named
