"""How a model's answer is read: by its largest logit, by votes, or together with a detector's score.

`reading_of` makes the reading from the manifest, here and nowhere else. It decides what a search climbs, which class an input
was given, whether it was refused, and how many passes a verdict takes.

A detector's score is a column of its own where the model answers and on the wire. What attacks ask is (n, classes) logits for
every defense, so `WithDetector.climbed` shifts them there: a shift of all logits changes no label, margin, cross-entropy, DLR
or gradient of these. Only this file knows the shift; everyone else asks `answer`, `labels` or `refused`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional

from evaluator.errors import InputError
from evaluator.manifests.spec import DefenseManifest
from evaluator.models.access import LabelOracle, labels, scores

Model = Callable[[Tensor], Tensor]
LEVEL = 0.01
LEAST = 64  # at 32 a search and its verification disagreed about one image in 180: too few to tell 20 % from 30 %
_ROOM = 100_000  # how many times rarer by chance a success of the search is than one that verification accepts
_ROUNDING = 1e-6  # of a row's largest logit: a score of exactly 0 accepts, whatever float32 made of the row's mean


@dataclass(frozen=True)
class Answer:
    """logits: (n, classes); score: (n,) the detector's, positive where it refuses, None without one. Differentiable."""

    logits: Tensor
    score: Tensor | None = None


@dataclass(frozen=True)
class Read:
    """What a verdict takes from answers to n inputs, (n,) each.

    labels: int64 classes, -1 where the input was refused; correct: bool, the true class; wrong: bool, another class; broken:
    bool, another class beyond chance, which is the same where answers are not random.
    """

    labels: Tensor
    correct: Tensor
    wrong: Tensor
    broken: Tensor

    def __getitem__(self, rows: Tensor) -> Read:
        """These rows."""
        return Read(self.labels[rows], self.correct[rows], self.wrong[rows], self.broken[rows])


@dataclass(frozen=True)
class Reading:
    """Base of all readings, and that of a plain classifier.

    votes: passes whose majority is the defense's answer where answers are random, as it declares.
    random: it declares random answers; refuses: it declares a detector.
    """

    votes: int = 1
    random: ClassVar[bool] = False
    refuses: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.votes < 1:
            raise InputError(f"votes must be at least 1, got {self.votes}.")

    @property
    def scored(self) -> Votes:
        """How answers are scored where they are random, declared or not."""
        return Votes(self.votes)

    def columns(self, classes: int) -> int:
        """Columns of what the model answers, for so many classes."""
        return classes

    def climbed(self, answers: Tensor) -> Tensor:
        """What the model answered, (n, columns) -> the (n, classes) logits that a search sees. Differentiable."""
        return answers

    def answer(self, logits: Tensor) -> Answer:
        """The parts of logits as a search sees them. Differentiable."""
        return Answer(logits)

    def refused(self, logits: Tensor) -> Tensor:
        """(n,) bool: inputs that the model refuses to classify, from logits as a search sees them."""
        return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)

    def labels(self, logits: Tensor) -> Tensor:
        """(n,) int64 predicted classes of one pass, -1 where the input is refused."""
        return logits.argmax(dim=1)

    def decisions(self, model: Model) -> Model:
        """`model` for attackers who see decisions alone: one-hot rows, in which a refusal stays visible."""
        return LabelOracle(model)

    def read(self, model: Model, x: Tensor, y: Tensor, classes: int) -> Read:
        """What `model` (as a search sees it) says to x (n, *shape), whose true classes are y (n,)."""
        named = self.labels(scores(model, x))
        correct = named == y
        wrong = ~correct & (named >= 0)
        return Read(named, correct, wrong, wrong)


@dataclass(frozen=True)
class Argmax(Reading):
    """The largest logit names the class."""


@dataclass(frozen=True)
class Votes(Reading):
    """Declared random answers: scored on fresh randomness, by votes and a binomial test, never by the best of n draws.

    level: of the test that a claim must pass.
    """

    level: float = LEVEL
    random: ClassVar[bool] = True

    @property
    def scored(self) -> Votes:
        """These votes."""
        return self

    @property
    def strict(self) -> Votes:
        """The same votes at a level that leaves room: what is broken so stays broken when it is scored once more."""
        return dataclasses.replace(self, level=self.level / _ROOM)

    @property
    def passes(self) -> int:
        """Fresh passes per scored input: enough for the test even where one vote decides."""
        return max(self.votes, LEAST)

    def read(self, model: Model, x: Tensor, y: Tensor, classes: int) -> Read:
        """By the majority of `passes` fresh answers."""
        counts = self.counts(model, x, classes)
        correct = self.correct(counts, y)
        return Read(counts.argmax(dim=1), correct, ~correct, self.broken(counts, y))

    def counts(self, model: Model, x: Tensor, classes: int) -> Tensor:
        """(n, classes) int64: how many of `passes` fresh answers named each class."""
        total = torch.zeros(len(x), classes, dtype=torch.int64, device=x.device)
        for _ in range(self.passes):
            total += functional.one_hot(labels(model, x), classes)
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


@dataclass(frozen=True)
class WithDetector(Reading):
    """A declared detector: one column more, its score. A refused clean image is an error, a refused claim no success."""

    refuses: ClassVar[bool] = True

    def columns(self, classes: int) -> int:
        """One more than classes."""
        return classes + 1

    def climbed(self, answers: Tensor) -> Tensor:
        """(n, classes + 1), the last column the score -> (n, classes) logits, whose mean in each row is minus that score."""
        logits, score = answers[:, :-1].double(), answers[:, -1:].double()
        return (logits - logits.mean(dim=1, keepdim=True) - score).to(answers.dtype)

    def answer(self, logits: Tensor) -> Answer:
        """Logits and score."""
        return Answer(logits, -logits.mean(dim=1))

    def refused(self, logits: Tensor) -> Tensor:
        """(n,) bool: the score is positive beyond rounding."""
        return -logits.double().mean(dim=1) > _ROUNDING * logits.abs().amax(dim=1)

    def labels(self, logits: Tensor) -> Tensor:
        """(n,) int64 predicted classes, -1 where the detector refuses."""
        return torch.where(self.refused(logits), -1, logits.argmax(dim=1))

    def decisions(self, model: Model) -> Model:
        """One-hot rows whose mean still says whether they count, and nothing more."""

        def decided(x: Tensor) -> Tensor:
            logits = scores(model, x)
            named = functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(torch.float32)
            score = torch.where(self.refused(logits), 1.0, -1.0)
            return self.climbed(torch.cat([named, score[:, None]], dim=1))

        return decided


ARGMAX = Argmax()


def reading_of(manifest: DefenseManifest) -> Reading:
    """How the answers of a defense are read, as its manifest declares them."""
    if manifest.detector:
        return WithDetector(manifest.votes)
    return Votes(manifest.votes) if manifest.randomized else Argmax(manifest.votes)
