"""Which wrong class to aim at first: MALT (Melamed et al. 2024, "MALT Powers Up Adversarial Attacks")."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import gradient_of, ranked_classes
from evaluator.attacks.losses import pick
from evaluator.threats.base import Threat, flat


def malt_order(model: Model, batch: Batch, threat: Threat, points: Tensor, *, candidates: int = 9) -> Tensor:
    """(n, min(candidates, K - 1)) wrong classes, the one nearest in the linearised model first.

    Class t is (Z_y - Z_t) / ||grad (Z_y - Z_t)||_dual away; only the `candidates` likeliest classes are considered. Costs
    one forward and that many backward rows per example.
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        logits = model(threat.apply(batch.x, leaf)).float()
        classes = ranked_classes(logits.detach(), batch.y)[:, :candidates]
        distances = []
        for rank in range(classes.shape[1]):
            gap = pick(logits, batch.y) - pick(logits, classes[:, rank])
            gradient = gradient_of(gap.sum(), leaf, retain=rank + 1 < classes.shape[1])
            distances.append(gap.detach() / dual_norm(threat, gradient))
    order = torch.stack(distances, dim=1).argsort(dim=1, stable=True)
    return classes.gather(1, order)


def dual_norm(threat: Threat, gradient: Tensor) -> Tensor:
    """(n,) the largest gain of the linearised function per unit of the threat's norm; tiny instead of zero."""
    move = threat.steepest_step(gradient, 1.0)
    return (flat(gradient) * flat(move)).sum(dim=1).clamp_min(1e-30)
