"""Adam over the points of a threat, projected: what stAdv and ReColorAdv run on their flows and color maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import Loss
from evaluator.threats.base import Threat

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-12


@dataclass
class _State(Climbing):
    """first, second: Adam's moments."""

    first: Tensor
    second: Tensor


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
    now = _State(batch, points, torch.zeros_like(points), torch.zeros_like(points))
    for step in range(1, steps + 1):
        seen = look(model, now.batch, threat, now.points, loss)
        now.leave(seen)
        if not len(now):
            break
        gradient = seen.gradient if penalty is None else seen.gradient - _slope(penalty, now.points)
        now.first = _BETA_1 * now.first + (1 - _BETA_1) * gradient
        now.second = _BETA_2 * now.second + (1 - _BETA_2) * gradient.square()
        move = (now.first / (1 - _BETA_1**step)) / ((now.second / (1 - _BETA_2**step)).sqrt() + _TINY)
        now.points = threat.project(now.batch.x, now.points + rate * move)
    return now.finish(model, threat)


def _slope(penalty: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """The penalty's gradient; asks no model."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(penalty(leaf).sum(), leaf)
    return gradient.detach()
