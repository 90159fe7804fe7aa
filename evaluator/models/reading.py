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

import scipy
import torch
from torch import Tensor
from torch.nn import functional

from evaluator.errors import InputError
from evaluator.manifests.spec import DefenseManifest
from evaluator.models.access import LabelOracle, labels, scores
from evaluator.wanted import Wanted

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

    labels: int64 classes, -1 where the input was refused; correct: bool, the true class; met: bool, what the adversary wants;
    broken: bool, that beyond chance, which is the same where answers are not random; standing: bool, `Wanted.standing`.
    """

    labels: Tensor
    correct: Tensor
    met: Tensor
    broken: Tensor
    standing: Tensor

    def __getitem__(self, rows: Tensor) -> Read:
        """These rows."""
        return Read(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


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

    def read(self, model: Model, x: Tensor, wanted: Wanted, classes: int) -> Read:
        """What `model` (as a search sees it) says to x (n, *shape), of which an adversary wants `wanted` (n)."""
        named = self.labels(scores(model, x))
        correct, met = named == wanted.y, wanted.met(named)
        return Read(named, correct, met, met, wanted.standing(correct, met))


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

    def read(self, model: Model, x: Tensor, wanted: Wanted, classes: int) -> Read:
        """By the majority of `passes` fresh answers (ties go to the smallest class, as argmax has it)."""
        counts = self.counts(model, x, classes)
        named = counts.argmax(dim=1)
        correct, met = named == wanted.y, wanted.met(named)
        return Read(named, correct, met, self.broken(counts, wanted), wanted.standing(correct, met))

    def counts(self, model: Model, x: Tensor, classes: int) -> Tensor:
        """(n, classes) int64: how many of `passes` fresh answers named each class."""
        total = torch.zeros(len(x), classes, dtype=torch.int64, device=x.device)
        for _ in range(self.passes):
            total += functional.one_hot(labels(model, x), classes)
        return total

    def broken(self, counts: Tensor, wanted: Wanted) -> Tensor:
        """(n,) bool: the true class lost, or the target won, beyond chance: the p-value is below `level`."""
        return self.p_values(counts, wanted) < self.level

    def p_values(self, counts: Tensor, wanted: Wanted) -> Tensor:
        """(n,) float64 of the exact one-sided binomial test of "the true class is named at least half of the time".

        P(Binomial(passes, 1/2) <= k), with the true class k times among `passes`. With a target the test is of "the target is
        named at most half of the time", P(Binomial(passes, 1/2) >= k). With several votes the class is compared with the one
        that leads the others, of the passes that named one of the two.
        """
        named = wanted.y if wanted.target is None else wanted.target
        own = counts.gather(1, named[:, None]).squeeze(1)
        total = torch.full_like(own, self.passes)
        if self.votes > 1:
            total = own + counts.scatter(1, named[:, None], -1).amax(dim=1).clamp_min(0)
        k, passes = own.cpu().numpy(), total.cpu().numpy()
        binom = scipy.stats.binom
        found = binom.cdf(k, passes, 0.5) if wanted.target is None else binom.sf(k - 1, passes, 0.5)
        return torch.from_numpy(found).to(named.device)


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
