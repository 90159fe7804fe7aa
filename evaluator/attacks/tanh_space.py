"""Adam in the tanh space of Carlini and Wagner 2017: x = (tanh w + 1) / 2 keeps every iterate inside the box by itself."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

_INSIDE = 1 - 1e-3  # how far into (-1, 1) pixels at the walls are moved: tanh has a slope there that few steps can use
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class TanhAdam:
    """One optimiser per example: w and Adam's moments, all (n, *shape); `self[keep]` drops examples."""

    w: Tensor
    first: Tensor
    second: Tensor

    @staticmethod
    def at(x: Tensor) -> TanhAdam:
        """Fresh moments at the inputs x in [0, 1]."""
        w = torch.atanh((2 * x - 1) * _INSIDE)
        return TanhAdam(w, torch.zeros_like(w), torch.zeros_like(w))

    def __getitem__(self, keep: Tensor) -> TanhAdam:
        return TanhAdam(self.w[keep], self.first[keep], self.second[keep])

    @functools.cached_property
    def _tanh(self) -> Tensor:
        return torch.tanh(self.w)

    @property
    def x(self) -> Tensor:
        """The inputs, in [0, 1]."""
        return (self._tanh + 1).div_(2)

    def stepped(self, gradient: Tensor, *, rate: float | Tensor, step: int) -> TanhAdam:
        """One step of Adam down `gradient` (with respect to x). rate: one, or shaped to broadcast; step counts from 1."""
        slope = self._tanh.square().neg_().add_(1).mul_(gradient).div_(2)
        first = torch.lerp(self.first, slope, 1 - _BETA_1)
        second = (_BETA_2 * self.second).addcmul_(slope, slope, value=1 - _BETA_2)
        move = first / (second / (1 - _BETA_2**step)).sqrt_().add_(_EPSILON)
        return TanhAdam(self.w - move.mul_(rate / (1 - _BETA_1**step)), first, second)
