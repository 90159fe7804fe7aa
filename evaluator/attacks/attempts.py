"""Composing attempts: restarts and targets in turn, on the examples that still stand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, ranked_classes
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class Attempt:
    """What one run of an attack left. points: (n, *shape), adversarial where `fell` (n,) bool, else the best candidate."""

    points: Tensor
    fell: Tensor


Try = Callable[[Batch], Attempt]


def with_restarts(attempt: Try, batch: Batch, threat: Threat, *, restarts: int, first: Try | None = None) -> Attempt:
    """Tries up to `restarts` times with independent randomness; an example leaves at its first success.

    first: what to try the first time, when that differs from the restarts.
    """
    result = Attempt(threat.start(batch.x), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device))
    active = torch.arange(len(batch), device=batch.x.device)
    for restart in range(restarts):
        if not len(active):
            break
        tries = first if first is not None and restart == 0 else attempt
        tried = tries(batch[active].fork(restart))
        result.points[active], result.fell[active] = tried.points, tried.fell
        active = active[~tried.fell]
    return result


def from_nothing_first(climb: Callable[[Batch, Tensor], Attempt], batch: Batch, threat: Threat, *, restarts: int) -> Attempt:
    """`with_restarts` of a climb from given points: from no perturbation first, from random points after that."""

    def from_nothing(part: Batch) -> Attempt:
        return climb(part, threat.start(part.x))

    def from_random(part: Batch) -> Attempt:
        return climb(part, threat.random_start(part.x, part.draws))

    return with_restarts(from_random, batch, threat, restarts=restarts, first=from_nothing)


class Restarted(Attack):
    """Base of attacks that are one attempt, made up to `restarts` times with independent randomness."""

    restarts: int

    @abstractmethod
    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One attempt, from a random start."""

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def attempt(part: Batch) -> Attempt:
            return self.once(model, part, threat)

        return with_restarts(attempt, batch, threat, restarts=self.restarts).points


def one_target_at_a_time(attempt: Try, model: Model, batch: Batch, threat: Threat, *, targets: int) -> Attempt:
    """Tries with the aim at the 1st, 2nd, ... `targets`-th likeliest wrong class of each example that still stands.

    One clean look ranks the classes and lets misclassified inputs go; a batch with a target is tried on it alone.
    """
    if batch.target is not None:
        return attempt(batch)
    result = Attempt(threat.start(batch.x), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device))
    if not len(batch):
        return result
    logits = glance(model, batch, threat, result.points)
    result.fell.copy_(batch.success(logits))
    active = (~result.fell).nonzero().squeeze(1)
    classes = ranked_classes(logits, batch.y)
    for rank in range(min(targets, classes.shape[1])):
        if not len(active):
            break
        tried = attempt(batch[active].fork(rank).aimed(classes[active, rank]))
        result.points[active], result.fell[active] = tried.points, tried.fell
        active = active[~tried.fell]
    return result
