"""What NES and SPSA share: projected ascent on gradients estimated from scores at antithetic pairs of random points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.differences import antithetic_gradient
from evaluator.attacks.losses import margin
from evaluator.attacks.queries import Queries
from evaluator.threats.base import Threat

Draw = Callable[[Batch, tuple[int, ...]], Tensor]
Move = Callable[[Tensor, Tensor, int], Tensor]


def affordable_steps(queries: int, pairs: int) -> int:
    """Gradient steps of 2 * pairs rows, and one row each to see whether the point succeeds; one row is left for the last."""
    return (queries - 1) // (2 * pairs + 1)


def ascend_scores(
    model: Model, batch: Batch, threat: Threat, *, queries: int, pairs: int, h: float, draw: Draw, move: Move
) -> Tensor:
    """The last points, or the first that succeeded.

    draw: batch and shape (pairs, *point) -> (m, pairs, *point) random directions, of which steps of h are probed.
    move: rows (m,), the estimated gradient there and the step's number -> what to add before projecting.
    """
    asked = Queries(model, batch, threat, queries)
    rows, points = torch.arange(len(batch), device=batch.x.device), threat.start(batch.x)
    steps = affordable_steps(queries, pairs)
    for step in range(steps + 1):
        if not len(rows):
            break
        rows = rows[~asked.success(rows, points[rows])]
        if step == steps or not len(rows):
            break
        part = batch[rows].fork(step)
        directions = draw(part, (pairs, *points.shape[1:])).to(points)
        gradient = antithetic_gradient(asked, rows, points[rows], directions, h, margin)
        points[rows] = threat.project(part.x, points[rows] + move(rows, gradient, step))
    return points
