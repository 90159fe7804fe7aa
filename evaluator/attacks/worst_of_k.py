"""Worst of k random points, then climbs from the worst of them (Engstrom et al. 2019, "Exploring the Landscape of Spatial
Robustness", sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.apgd import climb_from
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance
from evaluator.attacks.losses import LOSSES, margin
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register("worst_of_k", title="Worst of k", access="gradients", threats=("*",), paper="Engstrom et al. 2019, sec. 4")
@dataclass(frozen=True)
class WorstOfK(Attack):
    """Tries `tries` random points and climbs from the `starts` worst of them with Auto-PGD.

    steps: of each climb. loss: what the climbs ascend; the points are ranked by the margin. An example leaves at its first
    success. Where gradients lead nowhere far (a rotation), the random points do the work.
    """

    tries: int = 50
    starts: int = 3
    steps: int = 20
    loss: Literal["ce", "dlr", "margin", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries, starts=self.starts, steps=self.steps)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        kept = min(self.starts, self.tries)
        values = torch.full((len(batch), kept), -torch.inf, device=batch.x.device)
        worst = best[:, None].repeat(1, kept, *[1] * (best.dim() - 1))
        rows = torch.arange(len(batch), device=batch.x.device)
        for number in range(self.tries + 1):
            if not len(rows):
                return best
            part = batch[rows].fork(number)
            points = threat.random_start(part.x, part.draws) if number else best[rows]
            logits = glance(model, part, threat, points)
            success, value = part.success(logits), margin(logits, part)
            best[rows[success]] = points[success]
            if number:  # the clean point is looked at but not climbed from
                _insert(worst, values, rows, points, value)
            rows = rows[~success]
        best[rows] = worst[rows, 0]
        for rank in range(kept):
            if not len(rows):
                break
            climbed = climb_from(model, batch[rows], threat, worst[rows, rank], LOSSES[self.loss], steps=self.steps)
            better = climbed.fell if rank else torch.ones_like(climbed.fell)
            best[rows[better]] = climbed.points[better]
            rows = rows[~climbed.fell]
        return best


def _insert(worst: Tensor, values: Tensor, rows: Tensor, points: Tensor, value: Tensor) -> None:
    """Puts the points where they belong among the `worst` (n, kept, *shape) of their examples, in place."""
    all_values = torch.cat([values[rows], value[:, None]], dim=1)
    order = all_values.argsort(dim=1, descending=True, stable=True)[:, :-1]
    all_points = torch.cat([worst[rows], points[:, None]], dim=1)
    values[rows] = all_values.gather(1, order)
    worst[rows] = all_points[torch.arange(len(rows), device=rows.device)[:, None], order]
