"""The closest points of examples that stand, asked of a copy that knows nothing of them yet.

Before it sees any clean image, a fresh copy is asked about the points where the search came closest to breaking the examples
that it left standing. It is also asked about the same points as a file can hold them (multiples of 1/255). Real inputs are
files, and a network may be another one there. What it misclassifies is a claim, and is verified like every other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.checks.audit import answers
from evaluator.models.meter import MeteredModel
from evaluator.records.report import Flag
from evaluator.threats.base import Threat, rows
from evaluator.threats.grid import on_grid

STAGE = "closest points, on a fresh copy"
CHECK = "closest-points"
FEW, MANY = 2, 0.1  # points that may break by rounding alone, as a number and as a share of what stands


@dataclass(frozen=True)
class Closest:
    """What a fresh copy says. points: (n, ...) one of the threat per example; broken: (n,) bool, a success there.

    as_found: how many break as the search left them; as_files: how many only when rounded.
    """

    points: Tensor
    broken: Tensor
    as_found: int
    as_files: int

    @property
    def flags(self) -> list[Flag]:
        """One flag where more broke than rounding explains."""
        most = max(FEW, MANY * len(self.broken))
        said = []
        if self.as_found > FEW:
            said.append(f"{self.as_found} of {len(self.broken)} points that the search had left standing broke a fresh copy")
        if self.as_files > most:
            said.append(f"{self.as_files} of {len(self.broken)} broke it once rounded to multiples of 1/255, as files are")
        return [Flag(check=CHECK, severity="unverified", evidence="; ".join(said) + ".")] if said else []


def closest(asked: MeteredModel, batch: Batch, threat: Threat, points: Tensor, seed: int) -> Closest:
    """Asks about `points` (n, ...), and about what a file can hold of them: each in one of two questions, by chance.

    Of a point and its twin one comes first and the other later, so that no pass holds both, nor files alone.
    """
    count, dice = len(batch), np.random.default_rng((seed + 11) % 2**63)
    twins = on_grid(batch.x, points, threat)
    if twins is None or not count:
        as_found = _fell(asked, batch, threat, points, dice)
        as_file = torch.zeros_like(as_found)
    else:
        swapped = rows(torch.from_numpy(dice.random(count) < 1 / 2), points)
        first = _fell(asked, batch, threat, torch.where(swapped, twins, points), dice)
        second = _fell(asked, batch, threat, torch.where(swapped, points, twins), dice)
        as_found, as_file = torch.where(swapped.flatten(), second, first), torch.where(swapped.flatten(), first, second)
    only = as_file & ~as_found
    chosen = points.clone()
    if twins is not None:
        chosen[only] = twins[only]
    return Closest(chosen, as_found | as_file, int(as_found.sum()), int(only.sum()))


def _fell(asked: MeteredModel, batch: Batch, threat: Threat, points: Tensor, dice: np.random.Generator) -> Tensor:
    """(n,) bool: points of the threat that are misclassified."""
    if not len(batch):
        return torch.zeros(0, dtype=torch.bool)
    logits = answers(asked, threat.apply(batch.x, points), dice)
    return batch.success(logits) & threat.contains(batch.x, points)


def closest_by_votes(asked: MeteredModel, batch: Batch, threat: Threat, points: Tensor) -> Closest:
    """The same of a model whose answers are declared random: what its votes lose with room to spare on fresh randomness.

    Chance moves single answers, so that nothing is flagged here; what breaks is a claim like any other.
    """
    votes = batch.reading.scored.strict
    if not len(batch):
        return Closest(points, torch.zeros(0, dtype=torch.bool, device=points.device), 0, 0)
    counts = votes.counts(asked, threat.apply(batch.x, points), asked.classes)
    fell = votes.broken(counts, batch.wanted) & threat.contains(batch.x, points)
    return Closest(points, fell, 0, 0)
