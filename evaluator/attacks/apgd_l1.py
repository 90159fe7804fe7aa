"""Auto-PGD for the L1 ball (Croce and Hein 2021, "Mind the Box: l1-APGD for Sparse Adversarial Attacks", sec. 4).

The steepest step of L1 moves one coordinate, which is far too slow. Here a step moves the share `density` of coordinates
with the largest |gradient|, equally far. The density follows the sparsity of the best point found so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import Loss
from evaluator.attacks.rows import choose, wide
from evaluator.threats.base import Threat, flat

STAGES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))  # (multiple of epsilon, share of the steps), sec. 4.3
CHECK = 0.04  # share of the steps between two checkpoints
SHRUNK = 0.95  # a best point sparser than this share of the last one resets the step size
REDUCTION, SMALLEST = 1.5, 10.0  # the size is divided by 1.5, down to a tenth of epsilon


@dataclass
class _Outer(Climbing):
    """density: (m,) share of the coordinates that a step moves."""

    density: Tensor


@dataclass
class _Inner(_Outer):
    """size: (m,) of the steps; best, best_value, best_gradient: the highest loss so far; sparsity: of `best` when last seen."""

    size: Tensor
    best: Tensor
    best_value: Tensor
    best_gradient: Tensor
    sparsity: Tensor


def climb_sparsely(model: Model, batch: Batch, threat: Threat, start: Tensor, loss: Loss, *, steps: int) -> Attempt:
    """One run from the points `start`: large balls first, each stage from the last one's best point, projected."""
    now = _Outer(batch, start, torch.full((len(batch),), 0.2, device=batch.x.device))
    for stage_number, (multiple, share) in enumerate(STAGES):
        if not len(now):
            break
        ball = threat.resized(multiple * threat.epsilon)
        every, count = max(int(CHECK * steps), 1), max(round(share * steps), 1)
        start = ball.project(now.batch.x, now.points)
        official = range(count) if multiple == 1.0 else range(1 if stage_number == 0 else 0)
        stage = _stage(model, now.batch, ball, start, loss, now.density, count=count, every=every, official=official)
        now.note(threat.project(now.batch.x, stage.points), stage.fell)
        now.points = stage.points
        now.drop(stage.fell)
        coordinates = flat(now.points).shape[1]
        moved = flat(now.points != now.batch.x).sum(dim=1)
        now.density = (moved / coordinates / REDUCTION).clamp(min=1 / coordinates, max=0.2)
    return now.found


def _stage(
    model: Model,
    batch: Batch,
    ball: Threat,
    points: Tensor,
    loss: Loss,
    density: Tensor,
    *,
    count: int,
    every: int,
    official: range,
) -> Attempt:
    """`count` sparse steps in `ball`, sizes reconsidered `every` so many.

    official: the steps at which the points are known to be inside the threat, so that a success there counts.
    """
    coordinates, none = flat(points).shape[1], torch.zeros_like(density)
    now = _Inner(
        batch,
        points,
        density,
        size=none + ball.epsilon,
        best=points,
        best_value=none - torch.inf,
        best_gradient=torch.zeros_like(points),
        sparsity=none + float(coordinates),
    )
    for step in range(count):
        seen = look(model, now.batch, ball, now.points, loss, stop=step in official)
        now.leave(seen)
        if not len(now):
            return now.found
        gradient, values = seen.gradient, seen.values[seen.keep]
        better = values > now.best_value
        now.best_value = torch.where(better, values, now.best_value)
        now.best = choose(better, now.points, now.best)
        now.best_gradient = choose(better, gradient, now.best_gradient)
        if step and step % every == 0:
            moved = flat(now.best != now.batch.x).sum(dim=1).float()
            sparser = moved < SHRUNK * now.sparsity
            now.density = (moved / coordinates / REDUCTION).clamp_min(1 / coordinates)
            now.size = torch.where(sparser, ball.epsilon, now.size / REDUCTION).clamp_min(ball.epsilon / SMALLEST)
            now.points = choose(sparser, now.best, now.points)
            gradient = choose(sparser, now.best_gradient, gradient)
            now.sparsity = moved
        now.points = ball.project(now.batch.x, now.points + sparse_step(gradient, now.density, now.size))
    last = len(official) == count
    fallen = torch.zeros(len(now), dtype=torch.bool, device=points.device)
    if last:
        fallen = now.batch.success(glance(model, now.batch, ball, now.points))
    now.note(choose(fallen, now.points, now.best), fallen)
    return now.found


def sparse_step(gradient: Tensor, density: Tensor, size: Tensor) -> Tensor:
    """The move of L1 norm `size` spread evenly over the share `density` of coordinates with the largest |gradient|."""
    rows = flat(gradient)
    count = (density * rows.shape[1]).floor().long().clamp(1, rows.shape[1])
    threshold = rows.abs().sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
    move = rows.sign() * (rows.abs() >= threshold)
    move = move / move.abs().sum(dim=1, keepdim=True).clamp_min(1e-12)
    return move.reshape(gradient.shape) * wide(size, gradient)
