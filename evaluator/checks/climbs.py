"""Plain projected gradient ascent of the margin with its whole history, for the checks that compare climbs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Climb:
    """A climb's history.

    margins: (steps + 1, n) margin max_{i != y} Z_i - Z_y after every step, the start included (after a stop: its last
    value). points: (n, ...) where it ended. ever: (n,) bool some point of the path was misclassified; end: (n,) bool the
    last one was.
    """

    margins: Tensor
    points: Tensor
    ever: Tensor
    end: Tensor


def climb(model: Model, batch: Batch, threat: Threat, *, steps: int, stop: bool) -> Climb:
    """PGD on the margin from a random start, step 2.5 epsilon / steps.

    stop: examples leave at their first success, so that what falls easily costs little.
    """
    points, size = threat.random_start(batch.x, batch.draws), 2.5 * threat.epsilon / steps
    margins = torch.zeros(steps + 1, len(batch), device=batch.x.device)
    ever = torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
    end = ever.clone()
    active = torch.arange(len(batch), device=batch.x.device)
    for step in range(steps + 1):
        if not len(active):
            break
        part, here = batch[active], points[active]
        if step == steps:
            logits = glance(model, part, threat, here)
            values, success = margin(logits, part), part.success(logits)
        else:
            seen = look(model, part, threat, here, margin, stop=stop)
            values, success = seen.values, seen.success
            moving = active[seen.keep]
            moved = points[moving] + threat.steepest_step(seen.gradient, size)
            points[moving] = threat.project(batch.x[moving], moved)
        margins[step:, active] = values
        ever[active] |= success
        end[active] = success
        if stop:
            active = active[~success]
    return Climb(margins, points, ever, end)
