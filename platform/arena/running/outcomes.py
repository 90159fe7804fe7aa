"""Outcomes: from an exception that nobody entered is to blame for, and as JSON for the database."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from evaluator.errors import InputError, PlatformError
from evaluator.records.report import Completed, Outcome, PlatformFailed, Report, SubmissionFailed
from sandbox import SandboxError, SandboxUnavailable

logger = logging.getLogger(__name__)

# The reason of a PlatformFailed whose cause passes by itself: the task waits, and the failure is not counted.
UNAVAILABLE = "sandbox-unavailable"


def platform_failed(error: Exception, what: str) -> PlatformFailed:
    """The outcome of a run that ended with what no submission can cause. what: the run, for the log."""
    match error:
        case PlatformError():
            return PlatformFailed(error.reason, str(error))
        case SandboxUnavailable():
            return PlatformFailed(UNAVAILABLE, str(error))
        case SandboxError():
            return PlatformFailed("sandbox", str(error))
        case InputError():
            return PlatformFailed("pack", str(error))
    logger.error("%s failed", what, exc_info=error)
    return PlatformFailed("internal", f"{type(error).__name__}: {error}")


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
