"""A union of Lp balls: the adversary may use whichever it likes, one at a time for each example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor

from evaluator.draws import Draws
from evaluator.errors import InputError
from evaluator.manifests.ball_specs import UnionSpec
from evaluator.manifests.threat_base import ThreatSpec
from evaluator.threats.balls import Ball
from evaluator.threats.base import SLACK, Threat, flat, row_sum, rows
from evaluator.threats.registry import build
from evaluator.threats.traits import Trait


@dataclass(frozen=True)
class Union(Threat):
    """z is in at least one of `members`. Distances and step sizes are shares of a member's epsilon, so epsilon is 1."""

    members: tuple[Ball, ...]
    epsilon = 1.0
    kind = "union"
    search = "members"
    traits = frozenset({Trait.WHOLE, Trait.SETTLES, Trait.STAYS, Trait.FAINT})

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise InputError("a union needs at least two members.", where="threat union")

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        assert isinstance(spec, UnionSpec)
        return cls(tuple(cast(Ball, build(member)) for member in spec.members))

    def balls(self) -> list[tuple[float, float]]:
        return [ball for member in self.members for ball in member.balls()]

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """The nearest (in L2) of the members' projections; of equally near ones the first member's."""
        return self._nearest(z, [member.project(x, z) for member in self.members])

    def random_start(self, x: Tensor, draws: Draws) -> Tensor:
        """A fair choice of member (each with the same probability, whatever its volume), then its own random start."""
        choice = draws.integers(len(self.members), 1).squeeze(1)
        return _pick(choice, [member.random_start(x, draws) for member in self.members])

    def steepest_step(self, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The member's step, of `size` times its epsilon, with the largest inner product with the gradient."""
        steps = [member.steepest_step(gradient, size * member.epsilon) for member in self.members]
        gains = torch.stack([row_sum(flat(step.double() * gradient.double())) for step in steps])
        return _pick(gains.argmax(dim=0), steps)

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        """(n,) float64: the smallest of the members' distances, each as a share of its epsilon."""
        return torch.stack([member.distance(x, z) / member.epsilon for member in self.members]).amin(dim=0)

    def contains(self, x: Tensor, z: Tensor, *, slack: float = SLACK) -> Tensor:
        """In any of the members, each with `slack` in its own units."""
        return torch.stack([member.contains(x, z, slack=slack) for member in self.members]).any(dim=0)

    @staticmethod
    def _nearest(z: Tensor, candidates: list[Tensor]) -> Tensor:
        away = [row_sum(flat(z.double() - candidate.double()).square()) for candidate in candidates]
        return _pick(torch.stack(away).argmin(dim=0), candidates)


def _pick(choice: Tensor, candidates: list[Tensor]) -> Tensor:
    """Row i of candidates[choice[i]]."""
    result = candidates[0]
    for index, candidate in enumerate(candidates[1:], start=1):
        result = torch.where(rows(choice == index, result), candidate, result)
    return result
