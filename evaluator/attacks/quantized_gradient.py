"""First-order adversary with quantized gradients (Z. Liu, Madry MNIST board, 2019: 88.32 %).

The board's line is all that is published. Implemented from it: projected first-order steps along a quantized gradient.
Guesswork: how it is quantized. PGD's sign keeps one bit of every coordinate. Here |g| / max |g| is first raised to the
power 1 / 2 (gradients of images spread over orders of magnitude). It is then rounded up to one of `levels` steps, so that
coordinates with small gradients move less than those with large ones. levels = 1 is PGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register(
    "quantized_gradient",
    title="First-order adversary with quantized gradients",
    access="gradients",
    threats=("linf",),
    paper="Liu 2019, Madry MNIST board; no paper, quantizer is ours",
)
@dataclass(frozen=True)
class QuantizedGradient(Restarted):
    """z <- Proj(z + size * sign(g) * quantized |g|), sizes falling linearly from epsilon / 2 to epsilon / 100.

    steps, restarts: as in PGD. levels: positive values that a coordinate's step can take, i / levels of the size.
    """

    steps: int = 100
    restarts: int = 1
    levels: int = 4
    loss: Literal["margin", "ce", "dlr", "pm"] = "margin"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts, levels=self.levels)
        one_of(LOSSES, loss=self.loss)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One random start."""
        now = Climbing(batch, threat.random_start(batch.x, batch.draws))
        for step in range(self.steps):
            seen = look(model, now.batch, threat, now.points, LOSSES[self.loss])
            now.leave(seen)
            if not len(now):
                break
            size = threat.epsilon * (0.5 - 0.49 * step / max(self.steps - 1, 1))
            now.points = threat.project(now.batch.x, now.points + size * quantized(seen.gradient, self.levels))
        return now.finish(model, threat)


def quantized(gradient: Tensor, levels: int) -> Tensor:
    """Signed values in {0, 1/levels, ..., 1}: the square root of |g| / max |g|, rounded up; zero stays zero."""
    largest = gradient.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    share = (gradient.abs() / wide(largest, gradient)).sqrt()
    return gradient.sign() * (share * levels).ceil() / levels
