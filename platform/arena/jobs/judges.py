"""Judges: what differs between an official evaluation, a first look, an attack that plays and a replay.

Each app registers its judges when Django starts; everything else in this app is the same for all of them.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from arena.jobs import outcomes
from arena.jobs.models import Shard, Trial
from arena.jobs.outcomes import Outcome
from arena.running.listening import Listener
from evaluator.records.cell_report import DefenseFailed
from evaluator.records.report import PlatformFailed, SubmissionFailed


class Line(enum.Enum):
    """In which line trials wait, and in which order they are taken from it."""

    FIRST = enum.auto()  # before everything else, of the team served least; of teams whose took long in the fair line
    OLDEST = enum.auto()  # the oldest first, and before it what is to be finished before it
    FAIR = enum.auto()  # of the team served least, by priority


@dataclass(frozen=True)
class End:
    """How a trial ends: whose failure it is, and why."""

    state: Trial.State
    reason: str = ""
    detail: str = ""


class Judge(ABC):
    """Answers one question with each method."""

    name: ClassVar[str]
    line: ClassVar[Line]

    @abstractmethod
    def run(self, shard: Shard, listener: Listener) -> Outcome:
        """Judges one shard. Raises Cancelled soon after `cancelled()`; PlatformError and others are the platform's failure."""

    @abstractmethod
    def completed(self, report: Any, inputs: bytes) -> Outcome:
        """The completed outcome of a shard from what was stored of it."""

    def merge(self, done: Sequence[Any]) -> Outcome:
        """One outcome from those of all shards, each completed, in order."""
        from arena.running.merging import merge

        merged: Outcome = merge(done)
        return merged

    @abstractmethod
    def publish(self, trial: Trial, outcome: Any, at: datetime) -> None:
        """Stores what a trial came to, in the transaction that has just ended it."""

    @abstractmethod
    def entries(self, trial_id: int) -> frozenset[int]:
        """The submissions that the trial is about, any of which may be why it fails."""

    @abstractmethod
    def lock(self, trial: Trial) -> None:
        """Makes the ends of trials that change the same figures happen one after the other, until the transaction ends."""

    def end(self, outcome: Outcome) -> End:
        """Whose failure the outcome is."""
        match outcome:
            case PlatformFailed():
                return End(Trial.State.PLATFORM_FAILED, outcome.reason, outcome.detail)
            case DefenseFailed():
                return End(Trial.State.DEFENSE_FAILED, outcome.reason, outcome.detail)
            case SubmissionFailed():
                return End(self.failed_by_theirs, outcome.reason, outcome.detail)
        return End(Trial.State.COMPLETED)

    failed_by_theirs: ClassVar[Trial.State] = Trial.State.SUBMISSION_FAILED

    def load(self, shard: Shard) -> Outcome:
        """The outcome that is stored with a shard that is done."""
        assert shard.outcome is not None
        failed = outcomes.failure(shard.outcome)
        return failed or self.completed(shard.outcome["report"], bytes(shard.inputs or b""))


_judges: dict[str, Judge] = {}


def register(judge: Judge) -> None:
    """Makes a judge known; one of the same name is replaced."""
    _judges[judge.name] = judge


def judge_named(name: str) -> Judge:
    """The judge of that name. Raises KeyError for one that no app registered."""
    return _judges[name]


def of_line(*lines: Line) -> list[str]:
    """The names of the judges whose trials wait in these lines."""
    return [judge.name for judge in _judges.values() if judge.line in lines]
