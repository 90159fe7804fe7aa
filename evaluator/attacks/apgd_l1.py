"""Auto-PGD for the L1 ball (Croce and Hein 2021, "Mind the Box: l1-APGD for Sparse Adversarial Attacks", sec. 4).

The steepest step of L1 moves one coordinate, which is far too slow; here a step moves the share `density` of coordinates
with the largest |gradient|, equally far, and the density follows the sparsity of the best point found so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

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


def climb_sparsely(model: Model, batch: Batch, threat: Threat, start: Tensor, loss: Loss, *, steps: int) -> Attempt:
    """One run from the points `start`: large balls first, each stage from the last one's best point, projected."""
    points = start
    result, fell = points.clone(), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
    active = torch.arange(len(batch), device=batch.x.device)
    density = torch.full((len(batch),), 0.2, device=batch.x.device)
    for stage_number, (multiple, share) in enumerate(STAGES):
        if not len(active):
            break
        ball = threat.resized(multiple * threat.epsilon)
        every, count = max(int(CHECK * steps), 1), max(round(share * steps), 1)
        start = ball.project(batch.x, points)
        official = range(count) if multiple == 1.0 else range(1 if stage_number == 0 else 0)
        stage = _stage(model, batch, ball, start, loss, density, count=count, every=every, official=official)
        result[active], fell[active] = threat.project(batch.x, stage.points), stage.fell
        stands = (~stage.fell).nonzero().squeeze(1)
        batch, active, points = batch[stands], active[stands], stage.points[stands]
        moved = flat(points != batch.x).sum(dim=1)
        density = (moved / flat(points).shape[1] / REDUCTION).clamp(min=1 / flat(points).shape[1], max=0.2)
    return Attempt(result, fell)


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
    size = torch.full_like(density, ball.epsilon)
    coordinates = flat(points).shape[1]
    active = torch.arange(len(batch), device=points.device)
    result, fell = points.clone(), torch.zeros(len(batch), dtype=torch.bool, device=points.device)
    best, best_value = points, torch.full_like(density, -torch.inf)
    best_gradient, sparsity = torch.zeros_like(points), torch.full_like(density, float(coordinates))
    for step in range(count):
        seen = look(model, batch, ball, points, loss, stop=step in official)
        keep, gradient, values = seen.keep, seen.gradient, seen.values[seen.keep]
        if len(keep) < len(active):
            result[active], fell[active] = points, seen.success
            batch, active, points, density, size = batch[keep], active[keep], points[keep], density[keep], size[keep]
            best, best_value = best[keep], best_value[keep]
            best_gradient, sparsity = best_gradient[keep], sparsity[keep]
            if not len(active):
                return Attempt(result, fell)
        better = values > best_value
        best_value = torch.where(better, values, best_value)
        best = choose(better, points, best)
        best_gradient = choose(better, gradient, best_gradient)
        if step and step % every == 0:
            moved = flat(best != batch.x).sum(dim=1).float()
            sparser = moved < SHRUNK * sparsity
            density = (moved / coordinates / REDUCTION).clamp_min(1 / coordinates)
            size = torch.where(sparser, ball.epsilon, size / REDUCTION).clamp_min(ball.epsilon / SMALLEST)
            points = choose(sparser, best, points)
            gradient = choose(sparser, best_gradient, gradient)
            sparsity = moved
        points = ball.project(batch.x, points + sparse_step(gradient, density, size))
    last = len(official) == count
    fallen = batch.success(glance(model, batch, ball, points)) if last else torch.zeros_like(density, dtype=torch.bool)
    result[active] = choose(fallen, points, best)
    fell[active] = fallen
    return Attempt(result, fell)


def sparse_step(gradient: Tensor, density: Tensor, size: Tensor) -> Tensor:
    """The move of L1 norm `size` spread evenly over the share `density` of coordinates with the largest |gradient|."""
    rows = flat(gradient)
    count = (density * rows.shape[1]).floor().long().clamp(1, rows.shape[1])
    threshold = rows.abs().sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
    move = rows.sign() * (rows.abs() >= threshold)
    move = move / move.abs().sum(dim=1, keepdim=True).clamp_min(1e-12)
    return move.reshape(gradient.shape) * wide(size, gradient)
