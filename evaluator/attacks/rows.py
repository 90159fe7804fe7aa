"""Per-row selection and scaling of (n, *shape) tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(values: Tensor, like: Tensor) -> Tensor:
    """(n,) values shaped to broadcast over `like` (n, *shape)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Rows of `yes` where mask (n,) holds, else rows of `no`."""
    return torch.where(wide(mask, yes), yes, no)
