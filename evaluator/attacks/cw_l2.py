"""The L2 attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. V and VI-A."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Closing
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, drawn_closer, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.tanh_space import TanhAdam
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat

_HIGHEST = 1e10
_AHEAD = 2.0  # the first c is twice the one that takes a linear model across
_FLAT, _LEAST, _MOST = 1e-12, 1e-3, 1e4  # least slope, and the range of the first c
_SLOWEST, _ENOUGH, _FASTER = 0.01, 100, 20.0  # Adam's rate, for how many steps it is enough, and how much faster fewer may go
_BISECTIONS = 6
_STILL = 1e-3  # an example whose objective changed by less than this share since the last check leaves the round


@dataclass
class _Search(Closing):
    """c: (m,) the constant now tried; low, high: what is known of it."""

    c: Tensor
    low: Tensor
    high: Tensor


@dataclass
class _Descent(Closing):
    """One minimisation for c (m,). last: the objective at the last check."""

    optimiser: TanhAdam
    c: Tensor
    last: Tensor


@register("cw_l2", title="Carlini-Wagner L2", access="gradients", threats=("l2",), paper="Carlini and Wagner 2017, sec. VI-A")
@dataclass(frozen=True)
class CWL2(MinimalNorm):
    """min ||delta||_2^2 + c * [Z_y - max_i Z_i + kappa]_+ by Adam in tanh space, with a binary search over c per example.

    steps: of Adam, for each of `searches` values of c from initial_c on; without one, from what the slope at x asks for.
    rate: Adam's; by default 0.01, more where the steps are few. kappa: confidence, the margin that
    a point must have to count. A round ends early for an example whose objective stands still (checked ten times).
    stop_within: an example leaves as soon as a point within epsilon is known.
    """

    steps: int = 1000
    searches: int = 9
    rate: float | None = None
    initial_c: float | None = None
    kappa: float = 0.0
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, searches=self.searches)
        at_least(0, kappa=self.kappa)
        positive(**{name: value for name, value in (("rate", self.rate), ("initial_c", self.initial_c)) if value is not None})

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        c = torch.full((len(batch),), self.initial_c or 1.0, device=batch.x.device)
        now = _Search(batch, Closest.none(batch, threat), c, torch.zeros_like(c), torch.full_like(c, _HIGHEST))
        if len(now):
            seen = look(model, batch, threat, batch.x, margin)
            now.keep(seen.keep)
            if self.initial_c is None:
                slope = seen.gradient.flatten(1).square().sum(dim=1)
                missing = self.kappa - seen.values[seen.keep]
                now.c = torch.where(slope > 0, _AHEAD * 2 * missing / slope.clamp_min(_FLAT), 1.0).clamp(_LEAST, _MOST)
        for _ in range(self.searches):
            if not len(now):
                break
            now.known, worked = self._round(model, now.batch, threat, now.known, now.c)
            now.high = torch.where(worked, torch.minimum(now.high, now.c), now.high)
            now.low = torch.where(worked, now.low, torch.maximum(now.low, now.c))
            now.c = torch.where(now.high < _HIGHEST, (now.low + now.high) / 2, now.c * 10)
            if self.stop_within:
                now.drop(within(threat, now.batch, now.known.points))
        if self.kappa > 0 or self.stop_within:  # nearer to x there is less confidence; within epsilon is near enough
            return now.closest.points
        return drawn_closer(model, batch, threat, NORMS["l2"].size, now.closest, halvings=_BISECTIONS).points

    def _round(self, model: Model, batch: Batch, threat: Threat, known: Closest, c: Tensor) -> tuple[Closest, Tensor]:
        """One minimisation for fixed c (n,): the closest points, and (n,) bool where this c found an adversarial one."""
        worked = torch.zeros(len(batch), dtype=torch.bool, device=c.device)
        now = _Descent(batch, known, TanhAdam.at(batch.x), c, torch.full_like(c, torch.inf))
        every = max(self.steps // 10, 1)
        rate = _SLOWEST * min(_FASTER, max(1.0, (_ENOUGH / self.steps) ** 2)) if self.rate is None else self.rate
        for step in range(self.steps):
            z = now.optimiser.x
            delta = z - now.batch.x
            seen = look(model, now.batch, threat, z, margin, stop=False)
            norm = delta.flatten(1).square().sum(dim=1)
            success = seen.success & (seen.values >= self.kappa)
            worked[now.at] |= success
            now.known = now.known.updated(z, norm.sqrt(), success)
            short = (self.kappa - seen.values).clamp_min(0)
            gradient = torch.addcmul(2 * delta, wide(now.c * (short > 0), z), seen.gradient, value=-1)
            now.optimiser = now.optimiser.stepped(gradient, rate=rate, step=step + 1)
            if step % every == every - 1:
                objective = norm + now.c * short
                going = (objective - now.last).abs() > _STILL * objective
                if self.stop_within:
                    going &= ~within(threat, now.batch, now.known.points)
                now.last = objective
                now.drop(~going)
                if not len(now):
                    break
        return now.closest, worked
