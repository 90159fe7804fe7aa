"""The nearest linearised decision boundary: what DeepFool and FAB step to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import gradient_of, look, ranked_classes
from evaluator.attacks.losses import margin
from evaluator.attacks.norms import Norm
from evaluator.attacks.rows import choose
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Boundary:
    """A hyperplane near z. gap (n,): what <normal, move> must reach to be on it, negative when z is already across."""

    gap: Tensor
    normal: Tensor


def nearest_boundary(
    model: Model, batch: Batch, threat: Threat, z: Tensor, norm: Norm, *, candidates: int | None = None
) -> Boundary:
    """Linearises the margin of every wrong class (or the `candidates` likeliest) at z and takes the nearest boundary.

    A batch with an aim or a target has one boundary only. Costs one forward row and as many backward rows as boundaries.
    """
    if batch.aim is not None or batch.target is not None:
        seen = look(model, batch, threat, z, margin, stop=False)
        return Boundary(-seen.values, seen.gradient)
    with torch.enable_grad():
        leaf = z.detach().requires_grad_(True)
        logits = model(threat.apply(batch.x, leaf)).float()
        others = ranked_classes(logits.detach(), batch.y)[:, :candidates]
        nearest = torch.full((len(batch),), torch.inf, device=z.device)
        gap, normal = torch.zeros_like(nearest), torch.zeros_like(z)
        for rank in range(others.shape[1]):
            values = margin(logits, batch.aimed(others[:, rank]))
            gradient = gradient_of(values.sum(), leaf, retain=rank + 1 < others.shape[1])
            away = values.detach().abs() / norm.dual(gradient).clamp_min(1e-12)
            closer = away < nearest
            nearest, gap = torch.where(closer, away, nearest), torch.where(closer, -values.detach(), gap)
            normal = choose(closer, gradient, normal)
    return Boundary(gap, normal)
