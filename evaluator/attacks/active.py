"""The examples that are still under attack: one record, whose rows leave everywhere at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluator.attacks.attempts import Attempt
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import Look, glance
from evaluator.attacks.minimal_norm import Closest, within
from evaluator.threats.base import Threat

_WHOLE = {"whole": True}  # a field about all examples, those included that have left


@dataclass
class Active:
    """Base of an attack's state, a dataclass whose fields have one row for each example that is still in play.

    A field is a tensor or anything else that is indexed by rows, unless it is marked as about the whole batch. batch: the
    examples in play. at: (m,) int64, where they are in the batch that the attack began with.
    """

    batch: Batch
    at: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.at = torch.arange(len(self.batch), device=self.batch.x.device)

    def __len__(self) -> int:
        return len(self.at)

    def keep(self, rows: Tensor) -> None:
        """Goes on with `rows`, int64 in increasing order, alone."""
        if len(rows) == len(self):
            return
        for each in dataclasses.fields(self):
            if not each.metadata.get("whole"):
                setattr(self, each.name, getattr(self, each.name)[rows])

    def drop(self, gone: Tensor) -> None:
        """Goes on without the examples where `gone` (m,) bool holds."""
        self.keep((~gone).nonzero().squeeze(1))


@dataclass
class Climbing(Active):
    """The state of an ascent that an example leaves when it falls. points: where each is now; found: what comes of all."""

    points: Tensor
    found: Attempt = field(init=False, metadata=_WHOLE)

    def __post_init__(self) -> None:
        super().__post_init__()
        fell = torch.zeros(len(self.batch), dtype=torch.bool, device=self.batch.x.device)
        self.found = Attempt(self.points.clone(), fell)

    def note(self, points: Tensor, fell: Tensor | bool) -> None:
        """Writes down where the examples in play have come to, and which of them fell there."""
        self.found.points[self.at], self.found.fell[self.at] = points, fell

    def leave(self, seen: Look) -> None:
        """Who fell at `points` leaves."""
        if len(seen.keep) < len(self):
            self.note(self.points, seen.success)
            self.keep(seen.keep)

    def finish(self, model: Model, threat: Threat) -> Attempt:
        """What comes of all, after a last look at where those in play ended."""
        if len(self):
            self.note(self.points, self.batch.success(glance(model, self.batch, threat, self.points)))
        return self.found


@dataclass
class Closing(Active):
    """The state of a search for the closest adversarial point. known: of those in play; everyone: of all, once they left."""

    known: Closest
    everyone: Closest = field(init=False, metadata=_WHOLE)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.everyone = self.known

    def keep(self, rows: Tensor) -> None:
        if len(rows) < len(self):
            self.everyone = self.closest
            super().keep(rows)

    @property
    def closest(self) -> Closest:
        """The closest points of all examples."""
        return self.everyone.replaced(self.at, self.known)


@dataclass
class Walking(Closing):
    """The same for a search that moves one point z of each example."""

    z: Tensor

    def closer(self, size: Callable[[Tensor], Tensor], success: Tensor) -> None:
        """Takes note of z where it is adversarial, `success` (m,) bool. size: of perturbations, (m, *shape) -> (m,)."""
        self.known = self.known.updated(self.z, size(self.z - self.batch.x), success)

    def standing(self, seen: Look, threat: Threat, *, first: bool, stop_within: bool) -> Tensor:
        """(k,) int64: who goes on after a look at z.

        After the first one, at the clean inputs, all that are classified correctly. Later all or, with `stop_within`, those of
        whom no point within the budget is known.
        """
        if first:
            return seen.keep
        if stop_within:
            return (~within(threat, self.batch, self.known.points)).nonzero().squeeze(1)
        return torch.arange(len(self), device=self.z.device)

    def finish(self, model: Model, threat: Threat, size: Callable[[Tensor], Tensor]) -> Closest:
        """The closest points of all, after a last look at z."""
        if len(self):
            self.closer(size, self.batch.success(glance(model, self.batch, threat, self.z)))
        return self.closest
