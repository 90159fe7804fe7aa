"""Every rotation and translation of a grid, then the neighborhood of the worst (Engstrom et al. 2019, "Exploring the
Landscape of Spatial Robustness", sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_BLOCK = 128  # grid points asked about before anybody may leave


@register(
    "rotation_grid",
    title="Grid of rotations",
    access="scores",
    threats=("rotation-translation",),
    paper="Engstrom et al. 2019, sec. 4",
)
@dataclass(frozen=True)
class RotationGrid(Attack):
    """Looks at `angles` x `shifts` x `shifts` rotations and translations, the limits among them; then around the worst.

    refine: looks spent around each of the `worst` grid points with the largest margin losses. They lie at random within a
    cell that halves every fourth of them. An example leaves at its first success.
    """

    angles: int = 31
    shifts: int = 5
    worst: int = 5
    refine: int = 40

    def __post_init__(self) -> None:
        at_least(2, angles=self.angles, shifts=self.shifts)
        at_least(1, worst=self.worst)
        at_least(0, refine=self.refine)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        if not len(batch):
            return best
        axes = [torch.linspace(-1, 1, count) for count in (self.angles, self.shifts, self.shifts)]
        unit = torch.cartesian_prod(*axes).to(best)
        nearest_first = unit.abs().amax(dim=1).argsort(descending=True, stable=True)  # what is far off breaks most
        unit = unit[nearest_first]
        queries = Queries(model, batch, threat, 1 + len(unit) + self.worst * self.refine)
        rows, limits = torch.arange(len(batch), device=best.device), threat.project(best[:1], best[:1] + 1e9)
        loss, fell = queries.judge(rows, best, margin)
        rows = rows[~fell]
        seen = torch.full((len(batch), len(unit)), -torch.inf, device=best.device)
        for block in torch.arange(len(unit), device=best.device).split(_BLOCK):
            if not len(rows):
                return best
            points = (unit[block] * limits).expand(len(rows), -1, -1)
            seen[rows[:, None], block] = self._ask(queries, rows, points, best, loss)
            rows = rows[torch.isfinite(loss[rows])]
        cell = limits * torch.tensor([2 / (self.angles - 1), 2 / (self.shifts - 1), 2 / (self.shifts - 1)]).to(best)
        tops = unit[seen.topk(min(self.worst, len(unit)), dim=1).indices] * limits
        centers = threat.project(best[:1], tops.flatten(0, 1)).reshape(tops.shape)
        values = seen.topk(min(self.worst, len(unit)), dim=1).values
        for step in range(self.refine):
            if not len(rows):
                break
            noise = 2 * batch.draws.fork(step)[rows].uniform(centers.shape[1], 3) - 1
            width = cell * 0.5 ** (4 * step // max(self.refine, 1))
            tried = threat.project(best[:1], (centers[rows] + noise * width).flatten(0, 1)).reshape(noise.shape)
            found = self._ask(queries, rows, tried, best, loss)
            better = found > values[rows]
            centers[rows] = torch.where(better[..., None], tried, centers[rows])
            values[rows] = torch.where(better, found, values[rows])
            rows = rows[torch.isfinite(loss[rows])]
        return best

    @staticmethod
    def _ask(queries: Queries, rows: Tensor, points: Tensor, best: Tensor, loss: Tensor) -> Tensor:
        """(m, k) margin losses of points (m, k, 3); notes each example's worst, with an infinite loss where it succeeds."""
        many = rows.repeat_interleave(points.shape[1])
        values, success = queries.judge(many, points.reshape(-1, 3), margin)
        values = torch.where(success, torch.inf, values).reshape(points.shape[:2])
        top, at = values.max(dim=1)
        better = top > loss[rows]
        best[rows[better]] = points[torch.arange(len(rows), device=rows.device), at][better]
        loss[rows[better]] = top[better]
        return values
