"""Adam over the points of a threat, projected: what stAdv and ReColorAdv run on their flows and color maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluator.attacks.attempts import Attempt
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import Loss
from evaluator.threats.base import Threat

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-12


def climb_by_adam(
    model: Model,
    batch: Batch,
    threat: Threat,
    points: Tensor,
    loss: Loss,
    *,
    steps: int,
    rate: float,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Attempt:
    """Ascends loss - penalty from `points` until success.

    rate: Adam's, in the threat's units. penalty: points -> (n,), differentiable; None for none.
    """
    result, fell = points.clone(), torch.zeros(len(batch), dtype=torch.bool, device=points.device)
    active = torch.arange(len(batch), device=points.device)
    first, second = torch.zeros_like(points), torch.zeros_like(points)
    for step in range(1, steps + 1):
        seen = look(model, batch, threat, points, loss)
        keep = seen.keep
        result[active], fell[active] = points, seen.success
        batch, active, points, first, second = batch[keep], active[keep], points[keep], first[keep], second[keep]
        if not len(active):
            break
        gradient = seen.gradient if penalty is None else seen.gradient - _slope(penalty, points)
        first = _BETA_1 * first + (1 - _BETA_1) * gradient
        second = _BETA_2 * second + (1 - _BETA_2) * gradient.square()
        move = (first / (1 - _BETA_1**step)) / ((second / (1 - _BETA_2**step)).sqrt() + _TINY)
        points = threat.project(batch.x, points + rate * move)
    if len(active):
        result[active], fell[active] = points, batch.success(glance(model, batch, threat, points))
    return Attempt(result, fell)


def _slope(penalty: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """The penalty's gradient; asks no model."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(penalty(leaf).sum(), leaf)
    return gradient.detach()
