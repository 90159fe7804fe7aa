"""JSMA (Papernot et al. 2016, "The Limitations of Deep Learning in Adversarial Settings", sec. IV).

The saliency map is that of the target class: a pixel counts when moving it raises Z_t and lowers the sum of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.active import Walking
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import gradient_of, ranked_classes
from evaluator.attacks.losses import pick
from evaluator.attacks.minimal_norm import Closest, MinimalNorm
from evaluator.attacks.norms import NORMS
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, at_most, one_of, positive
from evaluator.threats.base import Threat, flat

_SHORTLIST = 64  # pairs are searched among the coordinates that are best by alpha, by beta and by their product


@dataclass
class _State(Walking):
    """target: (m,) the class to reach; free: (m, d) bool, coordinates that may still move."""

    target: Tensor
    free: Tensor


@register("jsma", title="Jacobian saliency map", access="gradients", threats=("l0",), paper="Papernot et al. 2016, alg. 3")
@dataclass(frozen=True)
class JSMA(MinimalNorm):
    """Moves, two coordinates at a time, those with the largest saliency for the target class until it is the answer.

    A coordinate (one channel of one pixel) has alpha = dZ_t/dx_i and beta = d(sum_{j != t} Z_j)/dx_i. A pair is admissible
    with sum alpha > 0 > sum beta and scores -sum alpha * sum beta. The outputs Z are the probabilities, as in the paper. They
    sum to one, so beta = -alpha, up to a factor the gradient of log p_t, and the likeliest rival weighs most. Or they
    are the "logits", where rivals that are out of the race weigh as much. Without a target, t is the runner-up class of the
    clean input and any wrong label ends the search. theta: the change of a coordinate, downwards when `direction` is "down".
    gamma: the largest share of coordinates that may change. pairs: False takes coordinates one at a time. Cost per iteration:
    one forward row and one backward row, two for logits.
    """

    theta: float = 1.0
    gamma: float = 0.2
    direction: Literal["up", "down"] = "up"
    pairs: bool = True
    outputs: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        positive(theta=self.theta, gamma=self.gamma)
        at_least(0, theta=self.theta)
        at_most(1, gamma=self.gamma, theta=self.theta)
        one_of(("up", "down"), direction=self.direction)
        one_of(("probabilities", "logits"), outputs=self.outputs)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        norm, sign = NORMS["l0"], 1.0 if self.direction == "up" else -1.0
        budget, aimed = self.gamma * batch.x[:1].numel(), batch.target is not None
        free = torch.ones_like(flat(batch.x), dtype=torch.bool)
        target = batch.y if batch.target is None else batch.target
        now = _State(batch, Closest.none(batch, threat), batch.x, target, free)
        while len(now):
            with torch.enable_grad():
                leaf = now.z.detach().requires_grad_(True)
                logits = model(threat.apply(now.batch.x, leaf)).float()
                if not aimed:
                    now.target, aimed = ranked_classes(logits.detach(), batch.y)[:, 0], True
                fell = now.batch.success(logits.detach())
                now.closer(norm.size, fell)
                keep = (~fell).nonzero().squeeze(1)
                if not len(keep):
                    break
                alpha, beta = self._jacobian(logits, now.target, leaf)
            alpha, beta = sign * flat(alpha)[keep], sign * flat(beta)[keep]
            now.keep(keep)
            room = flat(now.z) < 1 if sign > 0 else flat(now.z) > 0
            chosen, found = _salient(alpha, beta, now.free & room, pairs=self.pairs)
            moved = (flat(now.z) + sign * self.theta * chosen).clamp(0, 1).reshape(now.z.shape)
            used = ((moved == now.z.round()) & (moved != now.z)).flatten(1)
            now.free = now.free & ~used & ~(chosen & (self.theta >= 1))
            now.z = moved
            changed = (flat(now.z) != flat(now.batch.x)).sum(dim=1)
            now.drop(~found | (changed > budget))
        return now.closest.points

    def _jacobian(self, logits: Tensor, target: Tensor, leaf: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and beta, shaped as `leaf`."""
        if self.outputs == "probabilities":
            alpha = gradient_of(pick(logits.log_softmax(dim=1), target).sum(), leaf)
            return alpha, -alpha
        own = pick(logits, target)
        alpha = gradient_of(own.sum(), leaf, retain=True)
        return alpha, gradient_of((logits.sum(dim=1) - own).sum(), leaf)


def _salient(alpha: Tensor, beta: Tensor, free: Tensor, *, pairs: bool) -> tuple[Tensor, Tensor]:
    """((n, d) bool the coordinates to move, (n,) bool whether there are any)."""
    if not pairs:
        score = torch.where(free & (alpha > 0) & (beta < 0), -alpha * beta, -torch.inf)
        best = score.max(dim=1)
        chosen = torch.zeros_like(free).scatter(1, best.indices[:, None], torch.isfinite(best.values)[:, None])
        return chosen, torch.isfinite(best.values)
    size = min(_SHORTLIST, alpha.shape[1])
    low = torch.full_like(alpha, -torch.inf)
    rankings = (alpha, -beta, (alpha - beta) / 2 - (alpha + beta).abs() / 2)
    near = torch.cat([torch.where(free, ranking, low).topk(size, dim=1).indices for ranking in rankings], dim=1)
    a, b, open_ = alpha.gather(1, near), beta.gather(1, near), free.gather(1, near)
    up, down = a[:, :, None] + a[:, None, :], b[:, :, None] + b[:, None, :]
    distinct = near[:, :, None] != near[:, None, :]
    allowed = distinct & open_[:, :, None] & open_[:, None, :] & (up > 0) & (down < 0)
    best = torch.where(allowed, -up * down, -torch.inf).flatten(1).max(dim=1)
    found = torch.isfinite(best.values)
    pair = torch.stack([best.indices // near.shape[1], best.indices % near.shape[1]], dim=1)
    chosen = torch.zeros_like(free).scatter(1, near.gather(1, pair), found[:, None].expand(-1, 2))
    return chosen, found
