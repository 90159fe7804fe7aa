"""Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import look
from evaluator.attacks.losses import LOSSES, Loss
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Projector, Threat


@register("pgd", title="Projected gradient descent", access="gradients", threats=("*",), paper="Madry et al. 2018, sec. 2.1")
@dataclass(frozen=True)
class PGD(Restarted):
    """z <- Proj(z + step_size * steepest direction of the loss), from random starts, until success.

    steps: gradient steps per restart. step_size: in the threat's units (default 2.5 * epsilon / steps). restarts:
    random starts; an example leaves the batch at its first success. loss: "ce", "margin" (Carlini-Wagner), "dlr" or "pm".
    random_start: False starts at the clean point (then more than one restart is pointless).
    """

    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    loss: Literal["ce", "margin", "dlr", "pm"] = "ce"
    random_start: bool = True

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        one_of(LOSSES, loss=self.loss)
        if self.step_size is not None:
            positive(step_size=self.step_size)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        size = self.step_size if self.step_size is not None else 2.5 * threat.epsilon / self.steps
        start = threat.random_start(batch.x, batch.draws) if self.random_start else threat.start(batch.x)
        return ascend(model, batch, threat, start, LOSSES[self.loss], steps=self.steps, size=size)


@dataclass
class _State(Climbing):
    """project: of the threat, at the examples in play."""

    project: Projector


def ascend(
    model: Model,
    batch: Batch,
    threat: Threat,
    points: Tensor,
    loss: Loss,
    *,
    steps: int,
    size: float | Callable[[int], float],
    last_look: bool = True,
) -> Attempt:
    """`steps` projected steps from `points`; the last points stand for those that did not fall.

    size: of every step, or a function of its number (0 .. steps - 1), in the threat's units.
    last_look: False leaves the last points unjudged, for a caller who looks at them anyway.
    """
    now = _State(batch, points, threat.fixed(batch.x))
    for step in range(steps):
        if not len(now):
            break
        seen = look(model, now.batch, threat, now.points, loss)
        now.leave(seen)
        move = threat.steepest_step(seen.gradient, size(step) if callable(size) else size)
        now.points = now.project(now.points + move)
    if last_look:
        return now.finish(model, threat)
    now.note(now.points, False)
    return now.found
