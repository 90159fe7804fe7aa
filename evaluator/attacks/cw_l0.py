"""The L0 attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. VI-B."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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


@register("cw_l0", title="Carlini-Wagner L0", access="gradients", threats=("l0",), paper="Carlini and Wagner 2017, sec. VI-B")
@dataclass(frozen=True)
class CWL0(MinimalNorm):
    """L2 attacks on ever fewer pixels: after each, the pixels with the least |gradient| * |delta| are fixed for good.

    rounds: L2 minimisations of up to `steps` steps of Adam at `rate`, with weight c on the hinge; an example leaves a
    round when it is adversarial. drop: share of its pixels fixed after a success; after a failure they return and half as
    many are fixed, until one alone fails. kappa: confidence. stop_within: an example leaves as soon as a point within
    epsilon pixels is known.
    """

    steps: int = 100
    rounds: int = 60
    rate: float = 0.05
    c: float = 10.0
    drop: float = 0.3
    kappa: float = 0.0
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, rounds=self.rounds)
        at_least(0, kappa=self.kappa)
        positive(rate=self.rate, c=self.c, drop=self.drop)
        at_most(1, drop=self.drop)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, everyone = NORMS["l0"], Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        active = (~batch.success(glance(model, batch, threat, batch.x))).nonzero().squeeze(1)
        part, known = batch[active], everyone[active]
        worth = torch.full_like(part.x.flatten(2).amax(1) if part.x.dim() > 2 else part.x, torch.inf)
        share = torch.full((len(active),), self.drop, device=batch.x.device)
        count = torch.zeros_like(share)
        for _ in range(self.rounds):
            if not len(active):
                break
            allowed = _without_least(worth, count)
            points, worth_now, fell = self._round(model, part, threat, known, allowed)
            known = known.updated(points, norm.size(points - part.x), fell)
            worth = torch.where(fell[:, None], worth_now, worth)
            share = torch.where(fell, share, share / 2)
            over = ~fell & (count <= 1)
            count = (share * (worth > 0).sum(dim=1)).floor().clamp_min(1)
            everyone = everyone.replaced(active, known)
            if self.stop_within:
                over |= within(threat, part, known.points)
            keep = (~over).nonzero().squeeze(1)
            part, known, active = part[keep], known[keep], active[keep]
            worth, share, count = worth[keep], share[keep], count[keep]
        return everyone.points

    def _round(
        self, model: Model, batch: Batch, threat: Threat, known: Closest, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Minimises over the `allowed` pixels (n, p): (points, worth of each pixel (n, p), (n,) bool which fell)."""
        mask = _spread(allowed, batch.x)
        start = torch.where(mask, known.points, batch.x)
        result, worth = start.clone(), torch.zeros(allowed.shape, device=start.device)
        fell = torch.zeros(len(batch), dtype=torch.bool, device=start.device)
        active, state = torch.arange(len(batch), device=start.device), TanhAdam.at(start)
        for step in range(self.steps):
            z = torch.where(mask, state.x, batch.x) if step else start[active]
            seen = look(model, batch, threat, z, margin, stop=False)
            done = seen.success & (seen.values >= self.kappa)
            result[active] = choose(done, z, result[active])
            delta = z - batch.x
            pixels = (seen.gradient * delta).abs()
            pixels = pixels.flatten(2).sum(dim=1) if pixels.dim() > 2 else pixels
            worth[active], fell[active] = pixels, done
            keep = (~done).nonzero().squeeze(1)
            move = 2 * delta - self.c * seen.gradient
            batch, active, mask, state, move = batch[keep], active[keep], mask[keep], state[keep], move[keep]
            if not len(active):
                break
            state = state.stepped(move * mask, rate=self.rate, step=step + 1)
        return result, worth, fell


def _spread(pixels: Tensor, like: Tensor) -> Tensor:
    """(n, p) per pixel -> the shape of `like` (n, C, *positions) or (n, p)."""
    return pixels.reshape(len(like), 1, *like.shape[2:]).expand_as(like) if like.dim() > 2 else pixels


def _without_least(worth: Tensor, count: Tensor) -> Tensor:
    """(n, p) bool: the pixels with positive worth but for the `count` (n,) least worthy."""
    zero = (worth == 0).sum(dim=1)
    place = worth.argsort(dim=1, stable=True).argsort(dim=1)
    return place >= wide(zero + count, place)
