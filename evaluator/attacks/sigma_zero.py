"""sigma-zero: gradient steps on a smooth stand-in for the L0 norm (Cina et al. 2025, "sigma-zero: Gradient-based
Optimization of l0-norm Adversarial Examples", algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.pixels import pixels_first, restored
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_DECAY = (0.9, 0.999)  # of Adam's moments
_LAST = 0.1  # share of the first step size at the end
_TEMPO = 0.01  # t: how fast the threshold follows, as a share of the step size


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
        norm, everyone = NORMS["l0"], Closest.none(batch, threat)
        active, known = torch.arange(len(batch), device=batch.x.device), everyone
        z, limit = batch.x, torch.full_like(known.distance, self.threshold)
        first, second = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(self.steps):
            if not len(active):
                return everyone.points
            seen = look(model, batch, threat, z, margin, stop=step == 0)
            known = known.updated(z, norm.size(z - batch.x), seen.success)
            gradient, success = seen.gradient, seen.success
            leave_now = step == 0 or self.stop_within
            keep = seen.keep if step == 0 else (~within(threat, batch, known.points)).nonzero().squeeze(1)
            if leave_now and len(keep) < len(active):
                gradient = gradient if step == 0 else gradient[keep]
                everyone = everyone.replaced(active, known)
                batch, active, known, z, limit = batch[keep], active[keep], known[keep], z[keep], limit[keep]
                first, second, success = first[keep], second[keep], success[keep]
                if not len(active):
                    return everyone.points
            delta = z - batch.x
            slope = self._sparsity_slope(delta) - torch.where(wide(success, delta), 0.0, gradient)
            slope = slope / wide(flat(slope).abs().amax(dim=1).clamp_min(1e-12), slope)
            size = self.step_size * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * step / self.steps)) / 2)
            first = _DECAY[0] * first + (1 - _DECAY[0]) * slope
            second = _DECAY[1] * second + (1 - _DECAY[1]) * slope.square()
            rate = size / (1 - _DECAY[0] ** (step + 1))
            move = first * rate / ((second / (1 - _DECAY[1] ** (step + 1))).sqrt() + 1e-8)
            delta = (batch.x + delta - move).clamp(0, 1) - batch.x
            limit = (limit + torch.where(success, _TEMPO * size, -_TEMPO * size)).clamp(0, 1)
            z = _without_small(batch.x, delta, limit)
        adversarial = batch.success(glance(model, batch, threat, z)) if len(active) else active > 0
        return everyone.replaced(active, known.updated(z, norm.size(z - batch.x), adversarial)).points

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
