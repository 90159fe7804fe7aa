"""What an honesty check is: a measurement on a small sample that tells whether the attacks' verdict can be believed.

Most see logits and vector-Jacobian products only, so they run against a sandboxed host as they run in-process. Two read
what the process of the model tells of its inside (`Subject.inspection`), which is evidence against an entry, never for it.
A finding that fires is shown as a flag and never changes a score. It is "unverified" where the evaluator cannot vouch for the
verdict any more, "info" where it has dealt with what it saw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance
from evaluator.checks.climbs import Climb, climb
from evaluator.ensembles.outputs import are_probabilities, unsquashed
from evaluator.errors import InputError
from evaluator.host.inspection import FORWARD_ROWS, Inspection, inspect
from evaluator.models.leads import Leads
from evaluator.models.meter import MeteredModel
from evaluator.models.reading import ARGMAX, Reading
from evaluator.models.scheduler import Scheduled
from evaluator.records.report import CheckRecord, Curve, Flag
from evaluator.threats.base import Threat
from evaluator.threats.traits import Trait

Severity = Literal["info", "unverified"]
SAMPLE = 32  # examples a check looks at
STEPS = 10  # of the climb that most checks share
LONG = 30  # of the longer climb it is compared with
INSPECTED = 4  # images on which a model is looked into


@runtime_checkable
class Inspectable(Protocol):
    """A model whose inside is reported by the process it lives in; see `evaluator.host.inspection`."""

    def inspected(self, x: Tensor) -> Inspection:
        """What was seen while it answered x (n, *shape)."""


@dataclass(frozen=True)
class Subject:
    """The model under examination, asked about a sample, and what several checks share (measured once, on demand).

    model: charged and checked (`MeteredModel`); batch: examples it classifies correctly, read as a plain classifier's, since
    climbs look at the classifier alone: whether a detector can be fooled with it is for the attack to find out; reading: how
    its answers are declared to be read; controls: images of the same split that do not rank, to compare with.
    """

    model: MeteredModel
    batch: Batch
    threat: Threat
    reading: Reading = ARGMAX
    controls: Batch | None = None

    @cached_property
    def probes(self) -> Tensor:
        """(n, ...) random points of the threat that nobody has asked about yet, one per example."""
        return self.threat.random_start(self.batch.x, self.batch.draws.fork("probes"))

    @cached_property
    def repeats(self) -> Tensor:
        """(5, n, K) answers to the same probes, one after the other."""
        return torch.stack([self.answers(self.probes) for _ in range(5)])

    @cached_property
    def random(self) -> bool:
        """Later repeats differ among themselves (a first answer that differs from all others is memory, not chance)."""
        return bool(different(self.repeats[1:-1], self.repeats[2:]).any())

    @cached_property
    def readable(self) -> Model:
        """The model to differentiate: the one given, or its logarithm where it answers probabilities."""
        return unsquashed(self.model) if are_probabilities(self.repeats[0]) else self.model

    @cached_property
    def climb(self) -> Climb:
        """PGD that never stops early, from random starts."""
        return climb(self.readable, self.batch.fork("climb"), self.threat, steps=STEPS, stop=False)

    @cached_property
    def long_climb(self) -> Climb:
        """A longer one on the examples that the short one left standing (`standing` says which)."""
        part = self.batch.fork("long")[self.standing]
        return climb(self.readable, part, self.threat, steps=LONG, stop=True)

    @cached_property
    def standing(self) -> Tensor:
        """(m,) int64 positions of the examples that the short climb never broke."""
        return (~self.climb.ever).nonzero().squeeze(1)

    @cached_property
    def by_epsilon(self) -> dict[float, float]:
        """Accuracy in the sample under a short climb, by epsilon as a multiple of the threat's own."""
        shares = {1.0: 1 - share(self.climb.ever)}
        for factor in (0.25, 0.5, 2.0):
            wider = self.threat.resized(factor * self.threat.epsilon)
            part = self.batch.fork(f"epsilon {factor}")
            shares[factor] = 1 - share(climb(self.readable, part, wider, steps=7, stop=True).ever)
        return dict(sorted(shares.items()))

    @cached_property
    def inspection(self) -> Inspection | None:
        """What can be seen inside the model on a few probes, None where nothing can (a bare function)."""
        part = self.batch[:INSPECTED]
        inner: list[Model] = []

        def hand_out(model: Model) -> Model:
            inner.append(model.model if isinstance(model, Scheduled) else model)
            return model

        self.model.through(hand_out)
        x = self.threat.apply(part.x, self.probes[:INSPECTED])
        match inner[0]:
            case Inspectable() as remote:
                seen = remote.inspected(x)
            case nn.Module() as module:
                seen = inspect(module, x)
            case _:
                return None
        self.model.meter.charge(forward=FORWARD_ROWS * len(x))
        return seen

    def answers(self, points: Tensor, rows: Tensor | slice | None = None) -> Tensor:
        """(m, K) what the model says to `points` (m, ...), as it says it.

        rows: whose points they are, positions in the batch; None for all of it in order. A point means nothing without its
        image, so a number of points that is not that of the rows raises InputError.
        """
        batch = self.batch if rows is None else self.batch[rows]
        if len(points) != len(batch):
            raise InputError(f"{len(points)} points do not fit {len(batch)} images.", where="honesty checks")
        return glance(self.model, batch, self.threat, points)

    def rendered(self, points: Tensor) -> Tensor:
        """(n, *shape) in [0, 1]: the inputs that the points, one per example, stand for."""
        return self.threat.apply(self.batch.x, points).float()

    def said(self, inputs: Tensor) -> Tensor:
        """(m, K) what the model says to `inputs` (m, *shape) in [0, 1] that need not be points of the threat."""
        with torch.no_grad():
            logits: Tensor = self.model(inputs)
        return logits


@dataclass(frozen=True)
class Finding:
    """What a check measured. curves: lines to draw, none where there is nothing to draw."""

    check: str
    fired: bool
    severity: Severity
    evidence: str
    curves: tuple[Curve, ...] = ()

    @property
    def flag(self) -> Flag:
        """The finding as reports carry it."""
        return Flag(check=self.check, severity=self.severity, evidence=self.evidence)

    @property
    def record(self) -> CheckRecord:
        """The finding as the entry page lists it, fired or not."""
        check = _CHECKS[self.check]
        return CheckRecord(
            check=self.check,
            title=check.title,
            meaning=check.meaning,
            fired=self.fired,
            severity=self.severity,
            evidence=self.evidence,
            remedy=check.remedy,
            curves=list(self.curves),
        )


class Check(ABC):
    """Base of every check; subclasses are registered with `register`.

    name: stable, in flags and URLs; definition: what is measured and when it fires, thresholds included; meaning: one
    sentence for people; remedy: what the team can do or declare; needs: the trait of a threat without which it is not
    measured, None where it always is; elsewhere: why an honest network would fire without that trait.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity] = "unverified"
    definition: ClassVar[str]
    meaning: ClassVar[str]
    remedy: ClassVar[str]
    needs: ClassVar[Trait | None] = None
    elsewhere: ClassVar[str] = ""

    @abstractmethod
    def run(self, subject: Subject) -> Finding:
        """Measures. The subject's batch has at least one example."""

    def applies(self, threat: Threat) -> bool:
        """Whether the measurement makes sense under `threat`."""
        return self.needs is None or self.needs in threat.traits

    def says(self, fired: bool, evidence: str, *, severity: Severity | None = None, curves: Sequence[Curve] = ()) -> Finding:
        """A finding of this check."""
        return Finding(self.name, fired, severity or self.severity, evidence, tuple(curves))


_CHECKS: dict[str, Check] = {}
C = TypeVar("C", bound=type[Check])


def register(cls: C) -> C:
    """Class decorator that puts a check on the list."""
    check: Check = cls()
    if check.name in _CHECKS:
        raise ValueError(f"two checks are named {check.name!r}")
    _CHECKS[check.name] = check
    return cls


def registered() -> list[Check]:
    """All checks, by name."""
    return [_CHECKS[name] for name in sorted(_CHECKS)]


def different(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> Tensor:
    """(..., n) bool: logits (..., n, K) whose leads (`evaluator.models.leads`) differ by more than `tolerance` of the lead."""
    return Leads.of(one, other).deviation() > tolerance


def share(mask: Tensor) -> float:
    """The share of True, 0 of nothing."""
    return float(mask.double().mean()) if len(mask) else 0.0
