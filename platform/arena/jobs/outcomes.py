"""Outcomes of shards as JSON, for the database: failures are the same for every judge."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

from pydantic import BaseModel

from evaluator.records.cell_report import DefenseFailed
from evaluator.records.report import PlatformFailed, SubmissionFailed

Failure = SubmissionFailed | PlatformFailed
COMPLETED = "completed"
_FAILURES: dict[str, type[Failure]] = {
    "submission_failed": SubmissionFailed,
    "defense_failed": DefenseFailed,
    "platform_failed": PlatformFailed,
}
FAILED = tuple(_FAILURES)


class Completed(Protocol):
    """What a judge found. report: without the adversarial inputs, which are stored beside it."""

    @property
    def report(self) -> BaseModel: ...

    @property
    def adversarial(self) -> bytes: ...


Outcome = Completed | SubmissionFailed | PlatformFailed


def dump(outcome: Outcome) -> dict[str, Any]:
    """JSON of a typed outcome."""
    for kind, failure in _FAILURES.items():
        if type(outcome) is failure:
            return {"kind": kind, **asdict(outcome)}
    assert not isinstance(outcome, SubmissionFailed | PlatformFailed)
    return {"kind": COMPLETED, "report": outcome.report.model_dump(mode="json")}


def failure(table: dict[str, Any]) -> Failure | None:
    """The failure that `dump` wrote; None where the shard was completed."""
    kind = _FAILURES.get(table["kind"])
    return None if kind is None else kind(reason=table["reason"], detail=table["detail"])
