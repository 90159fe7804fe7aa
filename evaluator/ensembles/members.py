"""A union of threats is searched member by member: an example falls when it falls to one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from evaluator.attacks.base import Batch
from evaluator.ensembles.base import Ensemble, Search, Step
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord, Flag
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Member:
    """One threat of the union and the ensemble that searches it."""

    threat: Threat
    ensemble: Ensemble

    @property
    def label(self) -> str:
        """Its name in reports."""
        return f"{self.threat.kind} {self.threat.epsilon:.4g}"


@dataclass(frozen=True)
class Members:
    """Runs every member's own ensemble on what the members before it left standing.

    Attacks on the union itself would spend their steps where the steepest member leads; here no member takes rows from
    another. Points of a member are points of the union: of an example that stands, the last member's are returned.
    """

    members: tuple[Member, ...]
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        points = threat.start(batch.x)
        broken_by = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.x.device)
        records: list[AttackRecord] = []
        flags: dict[str, Flag] = {}
        for number, member in enumerate(self.members):
            standing = (broken_by < 0).nonzero().squeeze(1)
            fallen, last = len(batch) - len(standing), number == len(self.members) - 1

            def report(step: Step, label: str = member.label, fallen: int = fallen, last: bool = last) -> None:
                """What this member leaves standing is settled only when no other comes after it."""
                settled = fallen + (step.settled if last else 0)
                observe(Step(f"{label}: {step.attack}", settled, step.survivors))

            part = batch[standing].fork(f"member {number}")
            found = member.ensemble.run(model, part, member.threat, report)
            fell = found.broken_by >= 0
            points[standing] = found.points
            broken_by[standing[fell]] = found.broken_by[fell] + len(records)
            records += [record.model_copy(update={"name": f"{member.label}: {record.name}"}) for record in found.records]
            flags = {flag.check: flag for flag in found.flags} | flags
        return Search(points, broken_by, records, list(flags.values()))
