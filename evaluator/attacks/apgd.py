"""Auto-PGD (Croce and Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble ...", sec. 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.apgd_l1 import climb_sparsely
from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import Look, glance, look
from evaluator.attacks.losses import LOSSES, Loss
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Projector, Threat
from evaluator.threats.traits import Trait

MOMENTUM = 0.75  # alpha of eq. (1)
RISING = 0.75  # rho of condition 1


@register("apgd", title="Auto-PGD", access="gradients", threats=("*",), paper="Croce and Hein 2020, sec. 3; L1: 2021, sec. 4")
@dataclass(frozen=True)
class APGD(Attack):
    """PGD with momentum whose step size halves by itself, per example, when progress stalls; restarts at the best point.

    steps: gradient steps per restart. restarts: random starts. loss: "ce", "dlr", "margin" or "pm"; steered when the batch
    has an aim or a target. Under an L1 threat the steps are sparse (`apgd_l1`).
    """

    steps: int = 100
    restarts: int = 1
    loss: Literal["ce", "dlr", "margin", "pm"] = "ce"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        return self.attempt(model, batch, threat).points

    def attempt(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """`run` that also says who fell."""
        loss = LOSSES[self.loss]

        def once(part: Batch) -> Attempt:
            start = threat.random_start(part.x, part.draws)
            climb = climb_sparsely if Trait.SPARSE in threat.traits else climb_from
            return climb(model, part, threat, start, loss, steps=self.steps)

        return with_restarts(once, batch, threat, restarts=self.restarts)


def checkpoints(steps: int) -> list[int]:
    """Iterations after which the step sizes are reconsidered.

    w_j = ceil(p_j * steps) with p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), sec. 3.3.
    """
    shares, period = [0.0, 0.22], 0.22
    while shares[-1] < 1:
        period = max(period - 0.03, 0.06)
        shares.append(shares[-1] + period)
    return sorted({math.ceil(share * steps - 1e-9) for share in shares[1:] if share <= 1})


@dataclass
class _Climb(Climbing):
    """The state of every climbing example, at points z_k.

    project: of the threat there. previous: z_{k-1}; gradient: at `points`; best, best_value, best_gradient: the highest loss
    so far; size: (m,) step sizes; value: loss at `points`; rises: increases since the last checkpoint; halved: the size was
    halved there; best_then: best_value there.
    """

    project: Projector
    previous: Tensor
    gradient: Tensor
    best: Tensor
    best_value: Tensor
    best_gradient: Tensor
    size: Tensor
    value: Tensor
    rises: Tensor
    halved: Tensor
    best_then: Tensor

    @classmethod
    def begin(cls, batch: Batch, threat: Threat, start: Tensor, seen: Look) -> _Climb:
        """Everybody at `start`, less those who fell there."""
        gradient = torch.zeros_like(start).index_copy(0, seen.keep, seen.gradient)
        none = torch.zeros_like(seen.values)
        now = cls(
            batch,
            start,
            threat.fixed(batch.x),
            previous=start,
            gradient=gradient,
            best=start,
            best_value=seen.values,
            best_gradient=gradient,
            size=none + 2 * threat.epsilon,
            value=seen.values,
            rises=none,
            halved=none > 0,
            best_then=seen.values,
        )
        now.leave(seen)
        return now

    def move(self, threat: Threat, *, momentum: float) -> Tensor:
        """z_{k+1} = Proj(z_k + a (Proj(z_k + size * direction) - z_k) + (1 - a)(z_k - z_{k-1})), eq. (1)."""
        step = self.project(self.points + threat.steepest_step(self.gradient, self.size))
        if momentum == 1.0:
            return step
        blend = torch.lerp(self.points, step, momentum)
        return self.project(blend.add_(self.points - self.previous, alpha=1 - momentum))

    def advance(self, points: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Takes note of the new points: whether the loss rose, and whether it is the best so far."""
        better = value > self.best_value
        self.rises = self.rises + (value > self.value)
        self.best, self.best_gradient = choose(better, points, self.best), choose(better, gradient, self.best_gradient)
        self.best_value = torch.where(better, value, self.best_value)
        self.previous, self.points, self.gradient, self.value = self.points, points, gradient, value

    def reconsider(self, period: int) -> None:
        """Halves the size and returns to the best point where the loss rose too rarely (condition 1) or not at all (2)."""
        rarely = self.rises < RISING * period
        stuck = ~self.halved & (self.best_then >= self.best_value)
        halve = rarely | stuck
        self.points, self.gradient = choose(halve, self.best, self.points), choose(halve, self.best_gradient, self.gradient)
        self.size = torch.where(halve, self.size / 2, self.size)
        self.rises, self.halved, self.best_then = torch.zeros_like(self.rises), halve, self.best_value


def climb_from(model: Model, batch: Batch, threat: Threat, start: Tensor, loss: Loss, *, steps: int) -> Attempt:
    """One APGD run from the points `start`."""
    now = _Climb.begin(batch, threat, start, look(model, batch, threat, start, loss))
    turning, last = checkpoints(steps), 0
    for step in range(1, steps + 1):
        if not len(now):
            break
        moved = now.move(threat, momentum=MOMENTUM if step > 1 else 1.0)
        if step == steps:
            fallen = now.batch.success(glance(model, now.batch, threat, moved))
            now.note(choose(fallen, moved, now.best), fallen)
            break
        seen = look(model, now.batch, threat, moved, loss)
        if len(seen.keep) < len(now):
            now.note(moved, seen.success)
            now.keep(seen.keep)
            moved = moved[seen.keep]
        now.advance(moved, seen.values[seen.keep], seen.gradient)
        if step in turning:
            now.reconsider(step - last)
            last = step
    return now.found
