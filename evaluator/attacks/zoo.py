"""ZOO: coordinate descent on finite differences of the logit margin (Chen et al. 2017, "ZOO: Zeroth Order Optimization Based
Black-box Attacks to Deep Neural Networks without Training Substitute Models", algorithms 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.differences import coordinate_differences
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, CountedMinimalNorm
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
_CAREFUL = 0.25  # share of the learning rate in the first round; it doubles from round to round
_PATIENT = 0.5  # share of a round after which an image that has not fallen is treated boldly
_BISECTIONS = 8  # of the way back to x, after each round


@register("zoo", title="ZOO", access="scores", threats=("l2",), paper="Chen et al. 2017, alg. 1-2")
@dataclass(frozen=True)
class ZOO(CountedMinimalNorm):
    """Minimises ||z - x||^2 + c * [confidence - margin(z)]_+ by Adam on a few random coordinates at a time.

    queries: model rows per example, everything included. coordinates: how many move per step; their slopes cost two rows
    each, the new point one. h: half the way of a central difference. learning_rate: Adam's; once an example fell it goes
    to 0 over the round. confidence: kappa. c: first weight of the margin. rounds: they share the queries. After each, an
    example that fell goes on from its closest adversarial point with a smaller c (a tenth, or the geometric mean with one
    that failed). Any other goes on where it is with ten times c. The box is kept by clipping (the variant without tanh: a
    saturated tanh has no slope to measure).
    Returns the closest adversarial point found, the clean one where there is none.
    """

    queries: int = 20_000
    coordinates: int = 128
    h: float = 1e-3
    learning_rate: float = 0.2
    confidence: float = 0.0
    c: float = 1000.0
    rounds: int = 3

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, coordinates=self.coordinates, rounds=self.rounds)
        positive(h=self.h, learning_rate=self.learning_rate, c=self.c)
        at_least(0, confidence=self.confidence)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        queries = Queries(model, batch, threat, self.spendable)
        closest = Closest.none(batch, threat)
        rows = torch.arange(len(batch), device=batch.x.device)
        points = closest.points.clone()
        if len(rows):
            success = queries.success(rows, points)
            closest = closest.updated(points, torch.zeros_like(closest.distance), success)
            rows = rows[~success]  # a misclassified input is its own closest adversarial point
        c = torch.full_like(closest.distance, self.c)
        failed, worked = torch.zeros_like(c), torch.full_like(c, torch.inf)
        count = min(self.coordinates, batch.x[:1].numel())
        steps = ((self.spendable - 1) // self.rounds - _BISECTIONS) // (2 * count + 1)
        for number in range(self.rounds):
            if not len(rows):
                break
            part = batch[rows].fork(number)
            bold = closest.distance[rows].isinf() & (number > 0)
            careful = torch.full_like(c[rows], self.learning_rate * min(2.0**number * _CAREFUL, 1.0))
            reach = torch.where(bold, self.learning_rate, careful)
            found = self._round(queries, part, threat, rows, points[rows], c[rows], steps, count, reach, bold)
            fell = found.distance.isfinite()
            closest = closest.replaced(rows, closest[rows].updated(found.points, found.distance, fell))
            closest = self._drawn_closer(queries, batch, threat, rows[fell], closest)
            points[rows] = choose(fell, closest.points[rows], found.points)
            worked[rows] = torch.where(fell, torch.minimum(worked[rows], c[rows]), worked[rows])
            failed[rows] = torch.where(fell, failed[rows], torch.maximum(failed[rows], c[rows]))
            between = torch.where(failed > 0, (failed * worked).sqrt(), worked / 10)
            c = torch.where(worked.isfinite(), between, c * 10)
        return closest.points

    @staticmethod
    def _drawn_closer(queries: Queries, batch: Batch, threat: Threat, rows: Tensor, closest: Closest) -> Closest:
        """The closest points of `rows` (m,) drawn towards x as far as they stay adversarial, by bisection."""
        x, far = batch.x[rows], closest.points[rows]
        low, high = torch.zeros(len(rows)).to(far), torch.ones(len(rows)).to(far)
        for _ in range(_BISECTIONS if len(rows) else 0):
            middle = (low + high) / 2
            z = x + wide(middle, far) * (far - x)
            success = queries.success(rows, z)
            near = closest[rows].updated(z, threat.distance(x, z).to(closest.distance), success)
            closest = closest.replaced(rows, near)
            low, high = torch.where(success, low, middle), torch.where(success, middle, high)
        return closest

    def _round(
        self,
        queries: Queries,
        batch: Batch,
        threat: Threat,
        rows: Tensor,
        points: Tensor,
        c: Tensor,
        steps: int,
        count: int,
        reach: Tensor,
        bold: Tensor,
    ) -> Closest:
        """Adam from `points`; the closest adversarial points it met, or where it ended at infinite distance.

        reach: (m,) the rate. bold: (m,) bool, which go as far in each coordinate, as Adam does; of the others all share one
        scale, so that a coordinate that matters little moves little, which L2 pays for.
        """
        x, z = flat(batch.x), flat(points).clone()
        first, second, times = torch.zeros_like(z), torch.zeros_like(z), torch.zeros_like(z)
        closest = Closest.none(batch, threat)

        def hinge(logits: Tensor, some: Batch) -> Tensor:
            return (self.confidence - margin(logits, some)).clamp_min(0)

        for step in range(steps):
            chosen = batch.draws.uniform(z.shape[1]).topk(count, dim=1).indices
            slopes = coordinate_differences(queries, rows, z.reshape(points.shape), chosen, self.h, hinge)
            slopes = 2 * (z - x).gather(1, chosen) + c[:, None] * slopes
            old_first, old_second = first.gather(1, chosen), second.gather(1, chosen)
            time = times.gather(1, chosen) + 1
            new_first = _BETA_1 * old_first + (1 - _BETA_1) * slopes
            new_second = _BETA_2 * old_second + (1 - _BETA_2) * slopes.square()
            first, second = first.scatter(1, chosen, new_first), second.scatter(1, chosen, new_second)
            times = times.scatter(1, chosen, time)
            own = new_second / (1 - _BETA_2**time)
            late = closest.distance.isinf() & (step >= steps * _PATIENT)
            size = torch.where((bold | late)[:, None], own, own.mean(dim=1, keepdim=True)).sqrt()
            ahead = new_first / (1 - _BETA_1**time) / (size + _TINY)
            found = closest.distance.isfinite()  # until then the step stays long
            longest = torch.where(late, self.learning_rate, reach)
            rate = torch.where(found, reach * (1 - step / steps), longest)[:, None]
            z = z.scatter(1, chosen, (z.gather(1, chosen) - rate * ahead).clamp(0, 1))
            candidate = z.reshape(points.shape)
            success = queries.success(rows, candidate)
            closest = closest.updated(candidate, threat.distance(batch.x, candidate).to(closest.distance), success)
        return Closest(choose(closest.distance.isfinite(), closest.points, z.reshape(points.shape)), closest.distance)
