"""Scoring a random defense: on fresh randomness, by votes and a binomial test, never by the best of n draws."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.errors import InputError
from evaluator.models.access import labels

LEVEL = 0.01
LEAST = 64  # at 32 a search and its verification disagreed about one image in 180: too few to tell 20 % from 30 %
_ROOM = 100_000  # how many times rarer by chance a success of the search is than one that verification accepts


@dataclass(frozen=True)
class Votes:
    """How a random defense is scored.

    votes: passes whose majority is the defense's answer, as it declares. level: of the test that a claim must pass.
    """

    votes: int = 1
    level: float = LEVEL

    def __post_init__(self) -> None:
        if self.votes < 1:
            raise InputError(f"votes must be at least 1, got {self.votes}.")

    @property
    def strict(self) -> Votes:
        """The same votes at a level that leaves room: what is broken so stays broken when it is scored once more."""
        return dataclasses.replace(self, level=self.level / _ROOM)

    @property
    def passes(self) -> int:
        """Fresh passes per scored input: enough for the test even where one vote decides."""
        return max(self.votes, LEAST)

    def counts(self, model: Model, x: Tensor, classes: int) -> Tensor:
        """(n, classes) int64: how many of `passes` fresh answers named each class."""
        total = torch.zeros(len(x), classes, dtype=torch.int64, device=x.device)
        for _ in range(self.passes):
            total += torch.nn.functional.one_hot(labels(model, x), classes)
        return total

    def correct(self, counts: Tensor, y: Tensor) -> Tensor:
        """(n,) bool: the true class has the most votes (ties go to the smallest class, as argmax has it)."""
        return counts.argmax(dim=1) == y

    def broken(self, counts: Tensor, y: Tensor) -> Tensor:
        """(n,) bool: the true class lost, beyond chance: its p-value is below `level`."""
        return self.p_values(counts, y) < self.level

    def p_values(self, counts: Tensor, y: Tensor) -> Tensor:
        """(n,) float64 of the exact one-sided binomial test of "the true class is named at least half of the time".

        P(Binomial(passes, 1/2) <= k), with the true class k times among `passes`. With several votes the true class is compared
        with the class that leads, of the passes that named one of the two.
        """
        right = counts.gather(1, y[:, None]).squeeze(1)
        total = torch.full_like(right, self.passes)
        if self.votes > 1:
            total = right + counts.scatter(1, y[:, None], -1).amax(dim=1).clamp_min(0)
        return torch.from_numpy(binom.cdf(right.cpu().numpy(), total.cpu().numpy(), 0.5)).to(y.device)


SINGLE = Votes()  # a defense that answers once
