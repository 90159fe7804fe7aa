"""The L2 attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. V and VI-A."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.tanh_space import TanhAdam
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat

_HIGHEST = 1e10
_STILL = 1e-3  # an example whose objective changed by less than this share since the last check leaves the round


@register("cw_l2", title="Carlini-Wagner L2", access="gradients", threats=("l2",), paper="Carlini and Wagner 2017, sec. VI-A")
@dataclass(frozen=True)
class CWL2(MinimalNorm):
    """min ||delta||_2^2 + c * [Z_y - max_i Z_i + kappa]_+ by Adam in tanh space, with a binary search over c per example.

    steps: of Adam, for each of `searches` values of c from initial_c on. rate: Adam's. kappa: confidence, the margin that
    a point must have to count. A round ends early for an example whose objective stands still (checked ten times).
    stop_within: an example leaves as soon as a point within epsilon is known.
    """

    steps: int = 1000
    searches: int = 9
    rate: float = 0.01
    initial_c: float = 0.01
    kappa: float = 0.0
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, searches=self.searches)
        at_least(0, kappa=self.kappa)
        positive(rate=self.rate, initial_c=self.initial_c)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        everyone = Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        active = (~batch.success(glance(model, batch, threat, batch.x))).nonzero().squeeze(1)
        part, known = batch[active], everyone[active]
        c = torch.full((len(active),), self.initial_c, device=batch.x.device)
        low, high = torch.zeros_like(c), torch.full_like(c, _HIGHEST)
        for _ in range(self.searches):
            if not len(active):
                break
            known, worked = self._round(model, part, threat, known, c)
            everyone = everyone.replaced(active, known)
            high, low = torch.where(worked, torch.minimum(high, c), high), torch.where(worked, low, torch.maximum(low, c))
            c = torch.where(high < _HIGHEST, (low + high) / 2, c * 10)
            if self.stop_within:
                keep = (~within(threat, part, known.points)).nonzero().squeeze(1)
                part, known, active = part[keep], known[keep], active[keep]
                c, low, high = c[keep], low[keep], high[keep]
        return everyone.points

    def _round(self, model: Model, batch: Batch, threat: Threat, known: Closest, c: Tensor) -> tuple[Closest, Tensor]:
        """One minimisation for fixed c (n,): the closest points, and (n,) bool where this c found an adversarial one."""
        everyone, worked = known, torch.zeros(len(batch), dtype=torch.bool, device=c.device)
        active = torch.arange(len(batch), device=c.device)
        state, last = TanhAdam.at(batch.x), torch.full_like(c, torch.inf)
        every = max(self.steps // 10, 1)
        for step in range(self.steps):
            z = state.x
            delta = z - batch.x
            seen = look(model, batch, threat, z, margin, stop=False)
            norm = delta.flatten(1).square().sum(dim=1)
            success = seen.success & (seen.values >= self.kappa)
            worked[active] |= success
            known = known.updated(z, norm.sqrt(), success)
            short = (self.kappa - seen.values).clamp_min(0)
            gradient = torch.addcmul(2 * delta, wide(c * (short > 0), z), seen.gradient, value=-1)
            state = state.stepped(gradient, rate=self.rate, step=step + 1)
            if step % every == every - 1:
                objective = norm + c * short
                going = (objective - last).abs() > _STILL * objective
                if self.stop_within:
                    going &= ~within(threat, batch, known.points)
                keep = going.nonzero().squeeze(1)
                last = objective
                if len(keep) == len(active):
                    continue
                everyone = everyone.replaced(active, known)
                batch, active, state, known = batch[keep], active[keep], state[keep], known[keep]
                c, last = c[keep], last[keep]
                if not len(active):
                    break
        return everyone.replaced(active, known), worked
