"""Outcomes of cells as JSON, for the database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evaluator.records.cell_report import CellCompleted, CellOutcome, CellReport, DefenseFailed
from evaluator.records.report import PlatformFailed, SubmissionFailed

_LONG = {"ids", "correct_bits", "robust_bits", "distances", "read_as"}


def dump(outcome: CellOutcome) -> dict[str, Any]:
    """JSON of a typed outcome; the adversarial inputs of a completed one are stored beside it."""
    match outcome:
        case CellCompleted():
            return {"kind": "completed", "report": outcome.report.model_dump(mode="json")}
        case DefenseFailed():
            return {"kind": "defense_failed", **asdict(outcome)}
        case SubmissionFailed():
            return {"kind": "attack_failed", **asdict(outcome)}
        case PlatformFailed():
            return {"kind": "platform_failed", **asdict(outcome)}


def load(table: dict[str, Any], adversarial: bytes | memoryview[int] | None) -> CellOutcome:
    """The outcome that `dump` wrote."""
    if table["kind"] == "completed":
        return CellCompleted(CellReport.model_validate(table["report"]), bytes(adversarial or b""))
    if table["kind"] == "platform_failed":
        return PlatformFailed(table["reason"], table["detail"])
    kind = DefenseFailed if table["kind"] == "defense_failed" else SubmissionFailed
    return kind(table["reason"], table["detail"])


def brief(report: CellReport) -> dict[str, Any]:
    """The report without what has a value per example: those are stored packed."""
    return report.model_dump(mode="json", exclude=_LONG)
