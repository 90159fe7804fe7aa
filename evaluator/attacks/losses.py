"""Losses an attack ascends: (n, K) logits and the batch -> (n,) values, larger is more adversarial.

Each handles three goals: away from `batch.y`; steered towards `batch.aim`, where any wrong label counts; or to
`batch.target`, which must become the answer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.base import Batch

Loss = Callable[[Tensor, Batch], Tensor]


def pick(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) the logit of one class per example."""
    return logits.gather(1, classes[:, None]).squeeze(1)


def best_other(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) the largest logit among all classes but the given one."""
    return logits.scatter(1, classes[:, None], -torch.inf).amax(dim=1)


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """-log p_y, or log p_t towards a target or an aim t."""
    towards = batch.target if batch.target is not None else batch.aim
    if towards is not None:
        return -functional.cross_entropy(logits, towards, reduction="none")
    return functional.cross_entropy(logits, batch.y, reduction="none")


def margin(logits: Tensor, batch: Batch) -> Tensor:
    """Carlini-Wagner: max_{i != y} Z_i - Z_y; aimed: Z_t - Z_y; targeted: Z_t - max_{i != t} Z_i. Positive means success."""
    if batch.target is not None:
        return pick(logits, batch.target) - best_other(logits, batch.target)
    rival = best_other(logits, batch.y) if batch.aim is None else pick(logits, batch.aim)
    return rival - pick(logits, batch.y)


def difference_of_logits_ratio(logits: Tensor, batch: Batch) -> Tensor:
    """DLR (Croce and Hein 2020, sec. 4.1): the margin over the spread Z_(1) - Z_(3) of the sorted logits.

    With an aim or a target the spread is Z_(1) - (Z_(3) + Z_(4)) / 2 (eq. 7). Invariant to shifting and scaling all logits.
    The ratio needs three classes (four when aimed). With fewer the last one there is stands in, and two classes give
    the plain margin, because Z_(1) - Z_(2) would cancel it to +-1.
    """
    value, classes = margin(logits, batch), logits.shape[1]
    if classes < 3:
        return value
    ranked = logits.topk(min(classes, 4), dim=1).values
    steered = batch.target is not None or batch.aim is not None
    low = ranked[:, 2:].mean(dim=1) if steered else ranked[:, 2]
    return value / (ranked[:, 0] - low + 1e-12)


def probability_margin(logits: Tensor, batch: Batch) -> Tensor:
    """The margin of the softmax probabilities, p_t - p_y (Gao et al. 2022, "Fast and Reliable Evaluation", PMA)."""
    return margin(logits.softmax(dim=1), batch)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
    "pm": probability_margin,
}
