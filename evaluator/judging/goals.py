"""What an adversary wants, as the judge pursues it: made from the manifest here, and asked by search, attacks and verification.

A goal gives every example its target, where it has one; whether an answer is a success is then asked of the examples
(`Examples.wanted`, `Batch.success`), and of nobody else.
"""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples, following
from evaluator.draws import Draws
from evaluator.ensembles.base import Ensemble
from evaluator.ensembles.black_box import BlackBox
from evaluator.ensembles.every_target import EveryTarget
from evaluator.ensembles.one_perturbation import OnePerturbation
from evaluator.ensembles.short import SHORT
from evaluator.ensembles.standard import standard
from evaluator.manifests.data_specs import DataSpec
from evaluator.manifests.goal_specs import EACH, LEAST_LIKELY, GoalSpec, TargetedSpec, UniversalSpec
from evaluator.manifests.spec import Challenge
from evaluator.models.access import scores
from evaluator.threats.base import SLACK, Threat

_SEED = 0  # of drawn targets: authors of arrays draw the same ones
_ROWS = 250


class Goal(ABC):  # noqa: B024 (every method has the untargeted goal's meaning)
    """Base of all goals, and what holds where nothing else is said: any wrong class.

    targeted: attacks get a class for every example, their argument `target`. universal: attacks hand in one perturbation.
    """

    targeted: ClassVar[bool] = False
    universal: ClassVar[bool] = False

    def aimed(self, examples: Examples, model: Model) -> Examples:
        """The examples with their targets. model: the defense, asked for its clean answers only where the goal needs them."""
        return examples

    def turns(self, examples: Examples) -> Iterator[Examples]:
        """The examples as an attack is given them, one turn after the other; what it has broken leaves in between."""
        yield examples

    def points(self, returned: Tensor, examples: Examples, threat: Threat) -> Tensor:
        """What an attack handed in for `examples`, as points: one for each of them, unchecked."""
        return returned

    def search(self, challenge: Challenge, threat: Threat) -> Ensemble:
        """The official search under this goal."""
        return _plain(challenge, self) or standard(threat, aimed=self.targeted)

    def pursued(self, ensemble: Ensemble) -> Ensemble:
        """A search for what a batch asks for, as it is run under this goal."""
        return ensemble


@dataclass(frozen=True)
class Untargeted(Goal):
    """Any wrong class."""


@dataclass(frozen=True)
class Targeted(Goal):
    """One class for each example, whatever the defense answers.

    given: (n,) int64 of the first n ranked images, or None; one that is an image's own label is drawn again among the others,
    as are all where none are given. The draws depend on the image alone.
    """

    given: Tensor | None = None
    targeted: ClassVar[bool] = True

    def aimed(self, examples: Examples, model: Model) -> Examples:
        draws = Draws(_SEED, examples.ids).fork("targets")
        other = (examples.y + 1 + draws.integers(examples.classes - 1, 1).squeeze(1).to(examples.y.device)) % examples.classes
        if self.given is not None:
            given = self.given[examples.ids]
            other = torch.where(given == examples.y, other, given)
        return dataclasses.replace(examples, target=other)


@dataclass(frozen=True)
class LeastLikely(Goal):
    """The class whose logit is the smallest at the clean image, the true one left out (Kurakin et al. 2017)."""

    targeted: ClassVar[bool] = True

    def aimed(self, examples: Examples, model: Model) -> Examples:
        logits = torch.cat([scores(model, some) for some in examples.x.split(_ROWS)] or [torch.zeros(0, examples.classes)])
        others = logits.scatter(1, examples.y[:, None], torch.inf)
        return dataclasses.replace(examples, target=others.argmin(dim=1))


@dataclass(frozen=True)
class Each(Goal):
    """Every other class in turn, and the worst case counts: an example is broken when one of them is reached.

    So what counts is what counts without targets. How it is sought differs: an attack is called once for each class.
    """

    targeted: ClassVar[bool] = True

    def turns(self, examples: Examples) -> Iterator[Examples]:
        for step in range(1, examples.classes):
            yield dataclasses.replace(examples, target=(examples.y + step) % examples.classes)

    def search(self, challenge: Challenge, threat: Threat) -> Ensemble:
        return _plain(challenge, self) or EveryTarget(standard(threat, aimed=True), anywhere=standard(threat))

    def pursued(self, ensemble: Ensemble) -> Ensemble:
        return EveryTarget(ensemble)


@dataclass(frozen=True)
class OneForAll(Goal):
    """One perturbation v for all images (Moosavi-Dezfooli et al. 2017), found on others than those that rank.

    data: of the challenge; images: how many follow the ranked ones, for attacks to find v on.
    """

    data: DataSpec
    images: int
    universal: ClassVar[bool] = True

    def turns(self, examples: Examples) -> Iterator[Examples]:
        yield self.finding

    @property
    def finding(self) -> Examples:
        """The images that v is found on."""
        return following(self.data, self.images)

    def points(self, returned: Tensor, examples: Examples, threat: Threat) -> Tensor:
        """x + v, cut by every image's box, for v of shape (1, *shape) or (*shape). Where v is too large, nothing is cut."""
        shape = examples.x.shape[1:]
        if tuple(returned.shape) not in (tuple(shape), (1, *shape)) or returned.dtype != examples.x.dtype:
            return returned
        moved = examples.x + returned.reshape(1, *shape)
        middle = torch.full((1, *shape), 0.5, dtype=returned.dtype)
        fits = bool(threat.distance(middle, middle + returned.reshape(1, *shape)) <= threat.epsilon + SLACK)
        return moved.clamp(0, 1) if fits else moved

    def search(self, challenge: Challenge, threat: Threat) -> Ensemble:
        return OnePerturbation(self.finding)


UNTARGETED = Untargeted()


def _plain(challenge: Challenge, goal: Goal) -> Ensemble | None:
    """The ensemble of a challenge whose `[evaluation]` asks for another one than the standard."""
    if challenge.evaluation.ensemble == "black-box":
        access = challenge.access
        level: Literal["scores", "labels"] = "labels" if access.level == "labels" else "scores"
        return BlackBox(level, access.rows_per_example, inside=access.outside == "refused")
    return goal.pursued(SHORT) if challenge.evaluation.ensemble == "short" else None


def build_goal(spec: GoalSpec, data: DataSpec) -> Goal:
    """The goal of a validated manifest."""
    if isinstance(spec, UniversalSpec):
        return OneForAll(data, spec.images)
    if not isinstance(spec, TargetedSpec):
        return UNTARGETED
    if spec.target == LEAST_LIKELY:
        return LeastLikely()
    if spec.target == EACH:
        return Each()
    named, column = spec.named(data), spec.column(data)
    if column is not None:
        return Targeted(torch.tensor(column, dtype=torch.int64))
    return Targeted(None if named is None else torch.full((data.examples,), named, dtype=torch.int64))
