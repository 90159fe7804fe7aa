"""Per-row selection and scaling of (n, *shape) tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.threats.base import rows as wide

__all__ = ["choose", "wide"]


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Rows of `yes` where mask (n,) holds, else rows of `no`."""
    return torch.where(wide(mask, yes), yes, no)
