"""A climb on the data's grid: every look is at what a file can hold, while the steps are those of floats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.threats.base import Threat
from evaluator.threats.grid import on_grid


@dataclass(frozen=True)
class GridClimb(Attack):
    """PGD on the margin from a random start: the forward pass sees the rounded point, its gradient moves the unrounded one.

    steps: their size falls from epsilon to 0 by a cosine. Where points are no inputs there is no grid, and the point of no
    perturbation is returned.
    """

    steps: int = 10

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        points = threat.random_start(batch.x, batch.draws)
        result, active = threat.start(batch.x), torch.arange(len(batch), device=batch.x.device)
        if on_grid(batch.x, points, threat) is None:
            return result
        for step in range(self.steps):
            part = batch[active]
            shown = on_grid(part.x, points[active], threat)
            assert shown is not None
            result[active] = shown
            seen = look(model, part, threat, shown, margin)
            active = active[seen.keep]
            if not len(active):
                return result
            size = threat.epsilon * (1 + math.cos(math.pi * step / self.steps)) / 2
            moved = points[active] + threat.steepest_step(seen.gradient, size)
            points[active] = threat.project(batch.x[active], moved)
        last = on_grid(batch.x[active], points[active], threat)
        assert last is not None
        result[active] = last
        return result


def fallen_as_files(model: Model, batch: Batch, threat: Threat, points: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
    """Offers the ends of an attack, `points` (n, ...), once more as files hold them.

    standing: (n,) bool, whose end has not broken the model. Returns their positions (m,) int64 that do as files, and those
    points (m, ...). Nobody falls, and nothing is asked, where points are no inputs.
    """
    left = standing.nonzero().squeeze(1)
    twins = on_grid(batch.x[left], points[left], threat) if len(left) else None
    if twins is None:
        return left[:0], points[:0]
    part = batch[left]
    fell = part.success(glance(model, part, threat, twins)) & threat.contains(part.x, twins)
    return left[fell], twins[fell]
