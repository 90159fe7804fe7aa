"""What attacks that look for the closest adversarial point share: the record of the closest, when to stop, and asking again.

The closest point lies on the decision boundary, where the float32 sums of another batch may fall to the other side. So what
a search found is asked again, and where it is not adversarial any more it moves outwards until it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance
from evaluator.attacks.rows import choose, wide
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


def drawn_closer(
    model: Model, batch: Batch, threat: Threat, size: Callable[[Tensor], Tensor], known: Closest, *, halvings: int
) -> Closest:
    """Bisects the way from the original to the closest point, `halvings` times, of the examples that have one apart from it.

    size: of perturbations, (m, *shape) -> (m,). Costs one forward row per example and halving.
    """
    found = (torch.isfinite(known.distance) & (known.distance > 0)).nonzero().squeeze(1)
    part, best = batch[found], known[found]
    if not len(found):
        return known
    outside, inside = torch.ones_like(best.distance), torch.zeros_like(best.distance)
    far = best.points
    for _ in range(halvings):
        middle = (outside + inside) / 2
        z = part.x + wide(middle, far) * (far - part.x)
        adversarial = part.success(glance(model, part, threat, z))
        best = best.updated(z, size(z - part.x), adversarial)
        outside, inside = torch.where(adversarial, middle, outside), torch.where(adversarial, inside, middle)
    return known.replaced(found, best)


_OUTWARDS = (0.0, 1e-5, 1e-4, 1e-3)  # shares of its distance by which a point moves away from x, tried in turn
AGAIN = 2 * len(_OUTWARDS)  # the most rows per example that asking again costs


class MinimalNorm(Attack):
    """Base of minimal-norm attacks: subclasses `search`, and only what is adversarial when it is asked again is returned.

    Asking again costs up to AGAIN forward rows for each point that was moved, two where it is adversarial as it was found.
    An attack with a `queries` option keeps them back: its search may spend `spendable` rows per example.
    """

    minimal_norm: ClassVar[bool] = True

    @abstractmethod
    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        """The closest adversarial point found for each example, the point of no perturbation where there is none."""

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        return confirmed(model, batch, threat, self.search(model, batch, threat), rows=AGAIN)


class CountedMinimalNorm(MinimalNorm):
    """Base of those that may ask `queries` rows per example, asking again included."""

    queries: int

    @property
    def spendable(self) -> int:
        """Rows per example that the search may spend; at least the look at the clean input."""
        return max(self.queries - AGAIN, 1)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        found = self.search(model, batch, threat)
        return confirmed(model, batch, threat, found, rows=self.queries - self.spendable)


def confirmed(model: Model, batch: Batch, threat: Threat, points: Tensor, *, rows: int) -> Tensor:
    """Points (n, *shape) that are adversarial when asked again, in one batch and each alone; else those of no perturbation.

    A point that is not moves a little away from x and is asked once more, inside the box and, if it was within the budget,
    within the budget. rows: the most forward rows per example.
    """
    start = threat.start(batch.x)
    moved = (points != start).flatten(1).any(dim=1).nonzero().squeeze(1)
    result, part, found = points.clone(), batch[moved], points[moved]
    level = torch.zeros(len(moved), dtype=torch.int64, device=moved.device)
    inside = threat.contains(part.x, found)
    stands = torch.zeros_like(inside)
    for _ in range(min(rows // 2, len(_OUTWARDS)) if len(moved) else 0):
        current = choose(level > 0, _outwards(threat, part.x, found, level, inside), found)
        stands = _adversarial_again(model, part, threat, current)
        result[moved] = current
        if bool(stands.all()):
            break
        level = torch.where(stands, level, level + 1).clamp_max(len(_OUTWARDS) - 1)
    lost = moved[~stands]
    result[lost] = start[lost]
    return result


def _outwards(threat: Threat, x: Tensor, points: Tensor, level: Tensor, inside: Tensor) -> Tensor:
    """The points moved away from x (n, *shape) by their share of the distance; those `inside` (n,) stay within the budget."""
    share = torch.tensor(_OUTWARDS, dtype=points.dtype, device=points.device)[level]
    further = (points + (points - x) * wide(share, points)).clamp(0, 1)
    return choose(inside, threat.project(x, further), further)


def _adversarial_again(model: Model, batch: Batch, threat: Threat, points: Tensor) -> Tensor:
    """(n,) bool: adversarial in one batch, and alone. These two differ most in how a matrix product is summed up."""
    stands = batch.success(glance(model, batch, threat, points))
    for row in stands.nonzero().squeeze(1).tolist() if len(points) > 1 else ():
        alone = slice(row, row + 1)
        stands[row] = batch[alone].success(glance(model, batch[alone], threat, points[alone]))[0]
    return stands
