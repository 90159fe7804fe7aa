"""Logit rescaling: the same labels from logits of the size that cross-entropy is made for."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import gradient_of
from evaluator.attacks.losses import cross_entropy, margin

SPREAD = 10.0  # of a row's logits: the least likely class keeps a probability of at least 1e-6


def rescaled(model: Model) -> Model:
    """x -> logits whose largest and smallest are SPREAD apart in every row; the factor is a constant for gradients.

    Scaling a row by a positive number changes no label. It undoes a temperature. Neither logits of 10^6, whose softmax is 0 or
    1 in float32, nor logits of 10^-30, whose gradient is lost on the way back, keep cross-entropy from its gradient.
    """

    def answer(x: Tensor) -> Tensor:
        logits = model(x)
        seen = logits.detach()
        spread = seen.amax(dim=1, keepdim=True) - seen.amin(dim=1, keepdim=True)
        return logits * torch.where(spread > 0, SPREAD / spread.clamp_min(torch.finfo(seen.dtype).tiny), 1.0)

    return answer


def vanishing(model: Model, batch: Batch) -> Tensor:
    """(n,) bool: at the image the gradient by the input of cross-entropy or of the margin is zero in every coordinate.

    By the input, not by the point: how a threat renders its points is not the model's doing.
    """
    with torch.enable_grad():
        leaf = batch.x.detach().requires_grad_(True)
        logits = model(leaf).float()
        ce = gradient_of(cross_entropy(logits, batch).sum(), leaf, retain=True)
        plain = gradient_of(margin(logits, batch).sum(), leaf)
    return (ce == 0).flatten(1).all(dim=1) | (plain == 0).flatten(1).all(dim=1)
