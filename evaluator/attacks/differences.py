"""Gradients from scores, by central differences along coordinates or along random directions, and the climb along them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.losses import Loss, margin
from evaluator.attacks.queries import Queries
from evaluator.attacks.rows import wide
from evaluator.threats.base import Threat, flat

_NUMBERS = 2**24  # pixels held at once


def coordinate_differences(queries: Queries, rows: Tensor, points: Tensor, coordinates: Tensor, h: float, loss: Loss) -> Tensor:
    """(m, k) slopes of the loss at points (m, *shape) along coordinates (m, k) of each: 2k queries per row.

    (f(z + h e_i) - f(z - h e_i)) / (the way between the two inside the box); 0 where the box leaves no way.
    """
    result = torch.empty(coordinates.shape, dtype=points.dtype, device=points.device)
    group = max(_NUMBERS // max(coordinates.shape[1] * flat(points).shape[1], 1), 1)
    for first in range(0, len(rows), group):
        some = slice(first, first + group)
        result[some] = _coordinate_differences(queries, rows[some], points[some], coordinates[some], h, loss)
    return result


def _coordinate_differences(
    queries: Queries, rows: Tensor, points: Tensor, coordinates: Tensor, h: float, loss: Loss
) -> Tensor:
    values = flat(points)
    at = coordinates[:, :, None]
    probes = values[:, None, :].expand(-1, coordinates.shape[1], -1)
    own = values.gather(1, coordinates)
    ends, losses = [], []
    for sign in (1, -1):
        end = (own + sign * h).clamp(0, 1)
        moved = probes.scatter(2, at, end[:, :, None]).reshape(-1, *points.shape[1:])
        losses.append(queries.losses(rows.repeat_interleave(coordinates.shape[1]), moved, loss).reshape(own.shape))
        ends.append(end)
    way = ends[0] - ends[1]
    return torch.where(way > 0, (losses[0] - losses[1]) / way.clamp_min(1e-12), 0.0)


def antithetic_gradient(queries: Queries, rows: Tensor, points: Tensor, directions: Tensor, h: float, loss: Loss) -> Tensor:
    """(m, *shape) mean of u * (f(z + h u) - f(z - h u)) / 2h over directions u (m, k, *shape): 2k queries per row.

    Summed direction by direction, so that an example's estimate does not depend on its neighbours.
    """
    count = directions.shape[1]
    total = torch.zeros_like(points)
    for number in range(count):
        step = directions[:, number] * h
        rise = queries.losses(rows, points + step, loss) - queries.losses(rows, points - step, loss)
        total = total + directions[:, number] * wide(rise / (2 * h), points)
    return total / count


def steps_of(queries: int, pairs: int) -> int:
    """How many steps so many rows per example pay for: each costs two rows a pair, and one that sees whether it succeeds."""
    return (queries - 1) // (2 * pairs + 1)


def climb_by_differences(
    model: Model,
    batch: Batch,
    threat: Threat,
    move: Callable[[Tensor, Tensor, int], Tensor],
    *,
    queries: int,
    pairs: int,
    h: float,
    noise: Callable[..., Tensor],
) -> Tensor:
    """Points (n, *shape) that climbed the margin from no perturbation until success, `queries` rows per example at the most.

    move: (examples (m,), their gradients (m, *shape), step number) -> moves (m, *shape). noise: the method of `Draws` that
    draws the directions. h: how far the differences reach.
    """
    counted, steps = Queries(model, batch, threat, queries), steps_of(queries, pairs)
    rows, points = torch.arange(len(batch), device=batch.x.device), threat.start(batch.x)
    for step in range(steps + 1):
        if not len(rows):
            break
        rows = rows[~counted.success(rows, points[rows])]
        if step == steps or not len(rows):
            break
        part = batch[rows].fork(step)
        directions = noise(part.draws, pairs, *points.shape[1:]).to(points)
        gradient = antithetic_gradient(counted, rows, points[rows], directions, h, margin)
        points[rows] = threat.project(part.x, points[rows] + move(rows, gradient, step))
    return points
