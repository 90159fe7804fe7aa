"""sigma-zero: gradient steps on a smooth stand-in for the L0 norm (Cina et al. 2025, "sigma-zero: Gradient-based
Optimization of l0-norm Adversarial Examples", algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm
from evaluator.attacks.norms import NORMS
from evaluator.attacks.pixels import pixels_first, restored
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_DECAY = (0.9, 0.999)  # of Adam's moments
_LAST = 0.1  # share of the first step size at the end
_TEMPO = 0.01  # t: how fast the threshold follows, as a share of the step size


@dataclass
class _State(Walking):
    """limit: (m,) below which a pixel's change is dropped; first, second: Adam's moments."""

    limit: Tensor
    first: Tensor
    second: Tensor


@register("sigma_zero", title="sigma-zero", access="gradients", threats=("l0",), paper="Cina et al. 2025, alg. 1")
@dataclass(frozen=True)
class SigmaZero(MinimalNorm):
    """Adam on margin + mean of d^2 / (d^2 + sigma) over pixels; changes below a threshold that adapts by example are dropped.

    steps: iterations. step_size: Adam's first one, annealed by a cosine to a tenth. sigma: how sharp the stand-in is.
    threshold: the first one; it rises while the example is adversarial and falls while it is not. stop_within: an example
    leaves as soon as a point within epsilon is known.
    """

    steps: int = 200
    step_size: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        positive(step_size=self.step_size, sigma=self.sigma, threshold=self.threshold)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, known = NORMS["l0"], Closest.none(batch, threat)
        none, limit = torch.zeros_like(batch.x), torch.full_like(known.distance, self.threshold)
        now = _State(batch, known, batch.x, limit, first=none, second=none)
        for step in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.z, margin, stop=step == 0)
            now.closer(norm.size, seen.success)
            rows = now.standing(seen, threat, first=step == 0, stop_within=self.stop_within)
            gradient, success = seen.gradient if step == 0 else seen.gradient[rows], seen.success[rows]
            now.keep(rows)
            delta = now.z - now.batch.x
            slope = self._sparsity_slope(delta) - torch.where(wide(success, delta), 0.0, gradient)
            slope = slope / wide(flat(slope).abs().amax(dim=1).clamp_min(1e-12), slope)
            size = self.step_size * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * step / self.steps)) / 2)
            now.first = _DECAY[0] * now.first + (1 - _DECAY[0]) * slope
            now.second = _DECAY[1] * now.second + (1 - _DECAY[1]) * slope.square()
            rate = size / (1 - _DECAY[0] ** (step + 1))
            move = now.first * rate / ((now.second / (1 - _DECAY[1] ** (step + 1))).sqrt() + 1e-8)
            delta = (now.batch.x + delta - move).clamp(0, 1) - now.batch.x
            now.limit = (now.limit + torch.where(success, _TEMPO * size, -_TEMPO * size)).clamp(0, 1)
            now.z = _without_small(now.batch.x, delta, now.limit)
        return now.finish(model, threat, norm.size).points

    def _sparsity_slope(self, delta: Tensor) -> Tensor:
        """The gradient of the mean over pixels of |d|^2 / (|d|^2 + sigma), |d|^2 summed over channels."""
        pixels = pixels_first(delta)
        square = pixels.square().sum(dim=1, keepdim=True)
        slope = 2 * self.sigma * pixels / (square + self.sigma).square() / pixels.shape[2]
        return restored(slope, delta)


def _without_small(x: Tensor, delta: Tensor, limit: Tensor) -> Tensor:
    """x + delta where any channel of a pixel changes by at least `limit` (n,), x elsewhere."""
    pixels = pixels_first(delta)
    kept = pixels.abs().amax(dim=1, keepdim=True) >= limit[:, None, None]
    return torch.where(restored(kept.expand_as(pixels), delta), x + delta, x)
