"""Access levels: the same model with less in the answer, so that one attack runs against all of them.

An attack always holds a callable x (n, *shape) -> (n, classes). What the numbers mean depends on the access level:

| level | the answer | its gradient |
|---|---|---|
| gradients | logits | yes |
| scores | logits | none: the answer never requires grad |
| labels | the predicted class as a one-hot row | none |

A label-only oracle answers one-hot rows, so `labels(model, x)` is model(x).argmax at every level and a decision-based attack
runs unchanged on a white-box model. The reverse is not true: an attack that needs scores learns nothing from one-hot rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def scores(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(n, classes) logits of x (n, *shape), without a graph whatever the model is."""
    with torch.no_grad():
        return model(x.detach()).detach()


def labels(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(n,) int64 predicted classes of x (n, *shape): all that a decision-based attack may see."""
    return scores(model, x).argmax(dim=1)


@dataclass(frozen=True)
class LabelOracle:
    """`model` for decision-based attackers: one-hot rows of the predicted class."""

    model: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> (n, classes) float32, one-hot."""
        logits = scores(self.model, x)
        return functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(torch.float32)
