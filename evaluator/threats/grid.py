"""The data's grid: real inputs are files, whose pixels are multiples of 1/255. A network may be another one there."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.threats.base import Threat, rows

LEVELS = 255
_ROUNDING = 1e-4  # of a gray level: what is one already, but for float32, is not moved to the next


def on_grid(x: Tensor, points: Tensor, threat: Threat) -> Tensor | None:
    """The points rounded to multiples of 1/255, towards x where the nearest one is outside; None where points are no inputs."""
    if type(threat).apply is not Threat.apply or points.shape != x.shape:
        return None
    grays = points.double() * LEVELS
    nearest = grays.round()
    towards = torch.where(points > x, (grays + _ROUNDING).floor(), (grays - _ROUNDING).ceil())
    inside = threat.contains(x, (nearest / LEVELS).to(x.dtype))
    return (torch.where(rows(inside, x), nearest, towards) / LEVELS).to(x.dtype)
