"""The L0 attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. VI-B."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing, Closing
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.tanh_space import TanhAdam
from evaluator.attacks.validation import at_least, at_most, positive
from evaluator.threats.base import Threat

_SLOWEST, _WAY = 0.05, 4.0  # Adam's rate, and how far w must be able to go in one round, whatever the number of steps


@dataclass
class _Search(Closing):
    """worth: (m, p) of each pixel, 0 where it is given up; share: (m,) of the pixels given up next, count: how many."""

    worth: Tensor
    share: Tensor
    count: Tensor


@dataclass
class _Descent(Climbing):
    """One minimisation over the pixels in `mask`; points: where it began."""

    mask: Tensor
    optimiser: TanhAdam


@register("cw_l0", title="Carlini-Wagner L0", access="gradients", threats=("l0",), paper="Carlini and Wagner 2017, sec. VI-B")
@dataclass(frozen=True)
class CWL0(MinimalNorm):
    """L2 attacks on ever fewer pixels: after each, the pixels with the least |gradient| * |delta| are fixed for good.

    rounds: L2 minimisations of up to `steps` steps of Adam, with weight c on the hinge. An example leaves a round when it is
    adversarial. rate: Adam's; by default 0.05, more where the steps are few. drop: share of its pixels fixed after a
    success; after a failure they return and half as many are fixed, until one alone fails. kappa: confidence.
    stop_within: an example leaves as soon as a point within epsilon pixels is known.
    """

    steps: int = 100
    rounds: int = 60
    rate: float | None = None
    c: float = 10.0
    drop: float = 0.3
    kappa: float = 0.0
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, rounds=self.rounds)
        at_least(0, kappa=self.kappa)
        positive(c=self.c, drop=self.drop, **({} if self.rate is None else {"rate": self.rate}))
        at_most(1, drop=self.drop)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, now = NORMS["l0"], self._search(batch, threat)
        if len(now):
            now.drop(batch.success(glance(model, batch, threat, batch.x)))
        for _ in range(self.rounds):
            if not len(now):
                break
            allowed = _without_least(now.worth, now.count)
            points, worth, fell = self._round(model, now.batch, threat, now.known, allowed)
            now.known = now.known.updated(points, norm.size(points - now.batch.x), fell)
            now.worth = torch.where(fell[:, None], worth, now.worth)
            now.share = torch.where(fell, now.share, now.share / 2)
            over = ~fell & (now.count <= 1)
            now.count = (now.share * (now.worth > 0).sum(dim=1)).floor().clamp_min(1)
            if self.stop_within:
                over |= within(threat, now.batch, now.known.points)
            now.drop(over)
        return now.closest.points

    def _search(self, batch: Batch, threat: Threat) -> _Search:
        """Every pixel of every example is worth keeping yet."""
        worth = torch.full_like(batch.x.flatten(2).amax(1) if batch.x.dim() > 2 else batch.x, torch.inf)
        share = torch.full((len(batch),), self.drop, device=batch.x.device)
        return _Search(batch, Closest.none(batch, threat), worth, share, torch.zeros_like(share))

    def _round(
        self, model: Model, batch: Batch, threat: Threat, known: Closest, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Minimises over the `allowed` pixels (n, p): (points, worth of each pixel (n, p), (n,) bool which fell)."""
        mask = _spread(allowed, batch.x)
        rate = max(_SLOWEST, _WAY / self.steps) if self.rate is None else self.rate
        start = torch.where(mask, known.points, batch.x)
        worth, now = torch.zeros(allowed.shape, device=start.device), _Descent(batch, start, mask, TanhAdam.at(start))
        for step in range(self.steps):
            z = torch.where(now.mask, now.optimiser.x, now.batch.x) if step else start
            seen = look(model, now.batch, threat, z, margin, stop=False)
            done = seen.success & (seen.values >= self.kappa)
            now.note(choose(done, z, now.points), done)
            delta = z - now.batch.x
            pixels = (seen.gradient * delta).abs()
            worth[now.at] = pixels.flatten(2).sum(dim=1) if pixels.dim() > 2 else pixels
            move = (2 * delta - self.c * seen.gradient)[~done]
            now.drop(done)
            if not len(now):
                break
            now.optimiser = now.optimiser.stepped(move * now.mask, rate=rate, step=step + 1)
        return now.found.points, worth, now.found.fell


def _spread(pixels: Tensor, like: Tensor) -> Tensor:
    """(n, p) per pixel -> the shape of `like` (n, C, *positions) or (n, p)."""
    return pixels.reshape(len(like), 1, *like.shape[2:]).expand_as(like) if like.dim() > 2 else pixels


def _without_least(worth: Tensor, count: Tensor) -> Tensor:
    """(n, p) bool: the pixels with positive worth but for the `count` (n,) least worthy."""
    zero = (worth == 0).sum(dim=1)
    place = worth.argsort(dim=1, stable=True).argsort(dim=1)
    return place >= wide(zero + count, place)
