"""Primal-dual proximal gradient attack (Matyasko and Chau 2021, "PDPGD: Primal-Dual Proximal Gradient Descent Adversarial
Attack")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, drawn_closer
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat, flat

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
_LAST = 0.01  # share of the first step that the last one has
_DUAL, _DUAL_LAST, _DUAL_MEMORY = 0.1, 0.1, 0.9  # step of the dual variable, share of it at the end, moving average
_FIRST_RATIO, _RATIO = 0.01, 1e-6  # of the weights of distance and misclassification: the first, the least
_INNER, _SETTLED = 5, 0.01  # iterations of the weighted proximal step, and the relative change that ends them
_BISECTIONS = 8


@dataclass
class _State(Walking):
    """dual: (m,) logarithm of misclassification's weight over distance's; share: (m,) of misclassification, averaged over
    the steps; first, second: Adam's moments."""

    dual: Tensor
    share: Tensor
    first: Tensor
    second: Tensor


@register(
    "pdpgd",
    title="Primal-dual proximal gradient",
    access="gradients",
    threats=("linf", "l2", "l1"),
    paper="Matyasko and Chau 2021, sec. 4",
)
@dataclass(frozen=True)
class PDPGD(MinimalNorm):
    """Adam on softplus(-margin), each step followed by the norm's proximal operator, weighted by a dual variable.

    The dual variable of an example rises while it stands and falls while it is adversarial. steps: iterations. step_size:
    of the first, falling to a hundredth. stop_within: an example leaves as soon as a point within epsilon is known.
    A bisection ends it.
    """

    steps: int = 200
    step_size: float = 0.1
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        positive(step_size=self.step_size)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, known = NORMS[threat.kind], Closest.none(batch, threat)
        still, dual = torch.zeros_like(batch.x), torch.full_like(known.distance, -math.log(_FIRST_RATIO))
        now = _State(batch, known, batch.x, dual, dual.sigmoid(), still, still)
        for step in range(self.steps):
            if not len(now):
                break
            seen = look(model, now.batch, threat, now.z, margin, stop=step == 0)
            now.closer(norm.size, seen.success)
            rows = now.standing(seen, threat, first=step == 0, stop_within=self.stop_within)
            gradient = seen.gradient if step == 0 else seen.gradient[rows]
            values = seen.values[rows]
            now.keep(rows)
            if not len(now):
                break
            self._primal(threat, now, -wide((-values).sigmoid(), gradient) * gradient, step)
            rate = _DUAL * (1 - (1 - _DUAL_LAST) * step / max(self.steps - 1, 1))
            now.dual = (now.dual - rate * values.sign()).clamp(math.log(_RATIO), -math.log(_RATIO))
            now.share = _DUAL_MEMORY * now.share + (1 - _DUAL_MEMORY) * now.dual.sigmoid()
        found = now.finish(model, threat, norm.size)
        return drawn_closer(model, batch, threat, norm.size, found, halvings=_BISECTIONS).points

    def _primal(self, threat: Threat, now: _State, gradient: Tensor, step: int) -> None:
        """One step of Adam and the proximal step in Adam's own metric (Melchior et al. 2019, "Proximal Adam")."""
        now.first = torch.lerp(now.first, gradient, 1 - _BETA_1)
        now.second = _BETA_2 * now.second + (1 - _BETA_2) * gradient.square()
        metric = (now.second / (1 - _BETA_2 ** (step + 1))).sqrt() + _TINY
        size = self.step_size * _LAST ** (step / self.steps)
        moved = now.z - size / (1 - _BETA_1 ** (step + 1)) * now.first / metric
        x, aim = now.batch.x, moved.clamp(0, 1) - now.batch.x
        steepest = flat(metric).amax(dim=1)
        radius = (1 - now.share) / now.share.clamp_min(_TINY) * size / steepest
        weight, delta, going = metric / wide(steepest, metric), aim, torch.ones_like(radius, dtype=torch.bool)
        for _ in range(_INNER):
            pulled = proximal(threat.kind, delta - weight * (delta - aim), radius)
            pulled = (x + pulled).clamp(0, 1) - x
            change = flat(pulled - delta).norm(dim=1) / flat(pulled).norm(dim=1).clamp_min(_TINY)
            delta = choose(going, pulled, delta)
            going = going & (change >= _SETTLED)
            if not bool(going.any()):
                break
        now.z = (x + delta).clamp(0, 1)


def proximal(kind: str, delta: Tensor, radius: Tensor) -> Tensor:
    """argmin over r of ||r - delta||_2^2 / 2 + radius * ||r||_p, (n, *shape), for each radius (n,).

    Linf by Moreau's identity from the L1 ball.
    """
    limit = wide(radius, delta)
    if kind == "linf":
        return delta - NORMS["l1"].project(delta, radius)
    if kind == "l2":
        length = wide(NORMS["l2"].size(delta), delta).clamp_min(_TINY)
        return delta * (1 - limit / length).clamp_min(0)
    return functional.relu(delta.abs() - limit) * delta.sign()
