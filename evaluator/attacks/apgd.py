"""Auto-PGD (Croce and Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble ...", sec. 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.apgd_l1 import climb_sparsely
from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, look
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


@dataclass(frozen=True)
class _Climb:
    """The state of every climbing example; `self[keep]` drops the fallen.

    active: position in the batch; points, previous: z_k and z_{k-1}; gradient: at `points`; best, best_value,
    best_gradient: the highest loss so far; size: (n,) step sizes; value: loss at `points`; rises: increases since the
    last checkpoint; halved: the size was halved there; best_then: best_value there.
    """

    active: Tensor
    points: Tensor
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

    def __getitem__(self, keep: Tensor) -> _Climb:
        return _Climb(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def climb_from(model: Model, batch: Batch, threat: Threat, start: Tensor, loss: Loss, *, steps: int) -> Attempt:
    """One APGD run from the points `start`."""
    result, fell = start.clone(), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
    seen = look(model, batch, threat, start, loss)
    fell |= seen.success
    keep = seen.keep
    batch, start, values = batch[keep], start[keep], seen.values[keep]
    none = torch.zeros_like(values)
    state = _Climb(
        keep,
        start,
        start,
        seen.gradient,
        start,
        values,
        seen.gradient,
        none + 2 * threat.epsilon,
        values,
        none,
        none > 0,
        values,
    )
    turning, last, project = checkpoints(steps), 0, threat.fixed(batch.x)
    for step in range(1, steps + 1):
        if not len(state.active):
            break
        moved = _move(threat, project, state, momentum=MOMENTUM if step > 1 else 1.0)
        if step == steps:
            fallen = batch.success(glance(model, batch, threat, moved))
            shown = choose(fallen, moved, state.best)
            result[state.active], fell[state.active] = shown, fallen
            break
        seen = look(model, batch, threat, moved, loss)
        values = seen.values
        if len(seen.keep) < len(state.active):
            result[state.active], fell[state.active] = moved, seen.success
            keep = seen.keep
            batch, state, moved, values, project = batch[keep], state[keep], moved[keep], values[keep], project[keep]
        state = _advance(state, moved, values, seen.gradient)
        if step in turning:
            state, last = _reconsider(state, step - last), step
    return Attempt(result, fell)


def _move(threat: Threat, project: Projector, state: _Climb, *, momentum: float) -> Tensor:
    """z_{k+1} = Proj(z_k + a (Proj(z_k + size * direction) - z_k) + (1 - a)(z_k - z_{k-1})), eq. (1)."""
    step = project(state.points + threat.steepest_step(state.gradient, state.size))
    if momentum == 1.0:
        return step
    blend = torch.lerp(state.points, step, momentum)
    return project(blend.add_(state.points - state.previous, alpha=1 - momentum))


def _advance(state: _Climb, points: Tensor, value: Tensor, gradient: Tensor) -> _Climb:
    """Takes note of the new points: whether the loss rose, and whether it is the best so far."""
    better = value > state.best_value
    return _Climb(
        state.active,
        points,
        state.points,
        gradient,
        choose(better, points, state.best),
        torch.where(better, value, state.best_value),
        choose(better, gradient, state.best_gradient),
        state.size,
        value,
        state.rises + (value > state.value),
        state.halved,
        state.best_then,
    )


def _reconsider(state: _Climb, period: int) -> _Climb:
    """Halves the size and returns to the best point where the loss rose too rarely (condition 1) or not at all (2)."""
    rarely = state.rises < RISING * period
    stuck = ~state.halved & (state.best_then >= state.best_value)
    halve = rarely | stuck
    return _Climb(
        state.active,
        choose(halve, state.best, state.points),
        state.previous,
        choose(halve, state.best_gradient, state.gradient),
        state.best,
        state.best_value,
        state.best_gradient,
        torch.where(halve, state.size / 2, state.size),
        state.value,
        torch.zeros_like(state.rises),
        halve,
        state.best_value,
    )
