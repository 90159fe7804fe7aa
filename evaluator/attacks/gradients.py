"""One look at the model: logits, which examples fell, and the gradient at those that did not.

Every white-box attack asks through here, so that rows are spent the same way everywhere. That is one forward row per point, one
backward row per point of a batch in which somebody still stands, none once all have fallen, and one host sync.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.losses import Loss
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Look:
    """What one forward and one backward answered.

    logits: (n, K) float32; success: (n,) bool; keep: (m,) int64 positions of the examples that still stand;
    values, gradient: loss (n,) and its gradient (m, *shape) with respect to the points, of those m only.
    """

    logits: Tensor
    success: Tensor
    keep: Tensor
    values: Tensor
    gradient: Tensor


def look(model: Model, batch: Batch, threat: Threat, points: Tensor, loss: Loss, *, stop: bool = True, group: int = 1) -> Look:
    """Forward and backward through `threat.apply` at `points` (n, *shape).

    stop: False keeps the examples that have fallen too (`keep` is then everyone): minimal-norm attacks go on.
    group: so many consecutive rows are one example, and leave together when one of them succeeds.
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        logits = model(threat.apply(batch.x, leaf)).float()
        values = loss(logits, batch)
        success = batch.success(logits.detach())
        batch.note(points, success)
        gone = success.reshape(-1, group).any(dim=1).repeat_interleave(group)
        keep = (~gone if stop else torch.ones_like(gone)).nonzero().squeeze(1)
        gradient = gradient_of(values.sum(), leaf) if len(keep) else torch.zeros_like(leaf)
    everyone = len(keep) == len(batch)
    return Look(logits.detach(), success, keep, values.detach(), gradient if everyone else gradient[keep])


def gradient_of(value: Tensor, leaf: Tensor, *, retain: bool = False) -> Tensor:
    """d value / d leaf, detached; zeros where the value does not depend on the leaf (constant logits)."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient.detach()


def glance(model: Model, batch: Batch, threat: Threat, points: Tensor) -> Tensor:
    """(n, K) float32 logits at `points`; no gradient, no graph."""
    with torch.no_grad():
        logits: Tensor = model(threat.apply(batch.x, points)).float()
    if batch.evidence is not None or batch.asked is not None:
        success = batch.success(logits)
        batch.note(points, success)
        batch.count(points, success)
    return logits


def ranked_classes(logits: Tensor, y: Tensor) -> Tensor:
    """(n, K - 1) int64: the wrong classes, likeliest first."""
    return logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :-1]
