"""One perturbation for all images: found on some, scored on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance
from evaluator.attacks.universal import Universal, apply_perturbation
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.ensembles.base import Search, Step
from evaluator.ensembles.outputs import readable
from evaluator.ensembles.tally import Tally
from evaluator.models.meter import MeteredModel
from evaluator.records.report import AttackRecord
from evaluator.threats.base import Threat

ATTACK = Universal(passes=100, restarts=3, fooling_rate=1.0)
_SEED = 0  # every shard finds the same perturbation


@dataclass(frozen=True)
class OnePerturbation:
    """The universal attack on the images `finding`; what it found is added to every image of the batch.

    The images that rank are never looked at but once, to score them.
    """

    finding: Examples
    attack: Universal = ATTACK
    name: str = "standard"

    def run(self, model: MeteredModel, batch: Batch, threat: Threat, observe: Callable[[Step], None]) -> Search:
        observe(Step("universal perturbation", 0, len(batch)))
        tally, found = Tally(tried=len(batch)), self.finding
        apart = Batch(found.x, found.y, Draws(_SEED, found.ids), reading=batch.reading)
        with tally.spending(model.meter):
            asked, flags = readable(model, apart, threat)
            points = apply_perturbation(batch.x, self.attack.perturbation(asked, apart, threat), threat)
            fell = batch.success(glance(model, batch, threat, points)) & threat.contains(batch.x, points)
        tally.broken = int(fell.sum())
        record = AttackRecord(name="universal perturbation", survivors=len(batch) - tally.broken, **asdict(tally))
        return Search(points, torch.where(fell, 0, -1), [record], flags)
