"""What attacks that look for the closest adversarial point share: the record of the closest, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.rows import choose
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Closest:
    """The closest adversarial points so far. points (n, *shape); distance (n,) float32, inf where there is none."""

    points: Tensor
    distance: Tensor

    @staticmethod
    def none(batch: Batch, threat: Threat) -> Closest:
        """Nothing found yet: the points of no perturbation, at infinite distance."""
        return Closest(threat.start(batch.x), torch.full((len(batch),), torch.inf, device=batch.x.device))

    def __getitem__(self, keep: Tensor) -> Closest:
        return Closest(self.points[keep], self.distance[keep])

    def updated(self, points: Tensor, distance: Tensor, adversarial: Tensor) -> Closest:
        """Takes the points that are adversarial (n,) bool and closer than what is known."""
        better = adversarial & (distance < self.distance)
        return Closest(choose(better, points, self.points), torch.where(better, distance, self.distance))

    def replaced(self, where: Tensor, part: Closest) -> Closest:
        """The record with rows `where` (indices) replaced by those of `part`."""
        return Closest(self.points.index_copy(0, where, part.points), self.distance.index_copy(0, where, part.distance))


def within(threat: Threat, batch: Batch, points: Tensor) -> Tensor:
    """(n,) bool: which points of a minimal-norm attack changed something and fit the threat's budget."""
    return threat.contains(batch.x, points) & (points != threat.start(batch.x)).flatten(1).any(dim=1)
