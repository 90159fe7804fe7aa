"""Adam (Kingma & Ba 2015), bit for bit what torch.optim.Adam computes on a processor.

The first optimizer of torch.optim that a process makes imports torch's compiler, which takes longer than a small evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_MEAN, _SQUARE, _EPSILON = 0.9, 0.999, 1e-8  # the paper's beta_1, beta_2 and epsilon


class Adam:
    """Changes `parameters` in place by their gradients. rate: the step size, which may be changed between two steps."""

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        self.rate = rate
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(each) for each in self._parameters]
        self._squares = [torch.zeros_like(each) for each in self._parameters]
        self._steps = 0

    def zero_grad(self) -> None:
        """Forgets every gradient."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step down the gradients. A parameter that has none stays."""
        self._steps += 1
        size = self.rate / (1 - _MEAN**self._steps)
        scale = (1 - _SQUARE**self._steps) ** 0.5
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if parameter.grad is None:
                continue
            mean.lerp_(parameter.grad, 1 - _MEAN)
            square.mul_(_SQUARE).addcmul_(parameter.grad, parameter.grad, value=1 - _SQUARE)
            parameter.addcdiv_(mean, (square.sqrt() / scale).add_(_EPSILON), value=-size)
