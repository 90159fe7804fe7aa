"""Outcomes as JSON, for the database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evaluator.report import Completed, Outcome, PlatformFailed, Report, SubmissionFailed

# The reason of a PlatformFailed whose cause passes by itself: the task waits, and the failure is not counted.
UNAVAILABLE = "sandbox-unavailable"


def dump(outcome: Outcome) -> dict[str, Any]:
    """JSON of a typed outcome; the adversarial inputs of a completed one are stored beside it."""
    if isinstance(outcome, Completed):
        return {"kind": "completed", "report": outcome.report.model_dump(mode="json")}
    return {"kind": "submission_failed" if isinstance(outcome, SubmissionFailed) else "platform_failed", **asdict(outcome)}


def load(table: dict[str, Any], adversarial: bytes | memoryview[int] | None = None) -> Outcome:
    """The outcome that `dump` wrote."""
    if table["kind"] == "completed":
        return Completed(Report.model_validate(table["report"]), bytes(adversarial or b""))
    kind = SubmissionFailed if table["kind"] == "submission_failed" else PlatformFailed
    return kind(reason=table["reason"], detail=table["detail"])
