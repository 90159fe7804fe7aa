"""Losses an attack ascends: (n, K) logits and the batch -> (n,) values, larger is more adversarial.

Each handles both goals: away from `batch.y`, or towards `batch.target` where one is given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.base import Batch, Model

Loss = Callable[[Tensor, Batch], Tensor]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """-log p_y, or log p_target when targeted."""
    if batch.target is not None:
        return -functional.cross_entropy(logits, batch.target, reduction="none")
    return functional.cross_entropy(logits, batch.y, reduction="none")


def margin(logits: Tensor, batch: Batch) -> Tensor:
    """Carlini-Wagner: max_{i != y} Z_i - Z_y; targeted: Z_target - max_{i != target} Z_i. Positive means success."""
    pivot = batch.y if batch.target is None else batch.target
    own = logits.gather(1, pivot[:, None]).squeeze(1)
    other = logits.scatter(1, pivot[:, None], -torch.inf).amax(dim=1)
    return other - own if batch.target is None else own - other


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin}


def logits_and_gradient(model: Model, batch: Batch, x_adv: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """One forward and one backward: (logits (n, K), loss values (n,), gradient at x_adv), all detached."""
    with torch.enable_grad():
        leaf = x_adv.detach().requires_grad_(True)
        logits = model(leaf)
        values = loss(logits, batch)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return logits.detach(), values.detach(), gradient
