"""The entry page's list of honesty checks: what each one measured, what that means, and its curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.utils.safestring import SafeString

from arena.evaluations.models import Evaluation
from arena.web import svg
from evaluator.records.report import CheckRecord, Curve, Flag

VERDICTS = {"unverified": "cannot be vouched for", "info": "noted", "quiet": "nothing found"}
MARKS = {"unverified": "!", "info": "i", "quiet": "✓"}


@dataclass(frozen=True)
class Drawing:
    """Curves that share their axes, and their figures: one row per place, one cell per curve ("" where it has none)."""

    picture: SafeString
    x: str
    names: list[str]
    rows: list[tuple[str, list[str]]]

    @classmethod
    def of(cls, curves: list[Curve]) -> Drawing:
        """Draws `curves`, which have the same axes."""
        values = [{f"{x:.4g}": f"{y:.4g}" for x, y in curve.points} for curve in curves]
        places = sorted({place for column in values for place in column}, key=float)
        rows = [(place, [column.get(place, "") for column in values]) for place in places]
        return cls(svg.curves(curves), curves[0].x, [f"{curve.name}, {curve.y}" for curve in curves], rows)


@dataclass(frozen=True)
class CheckRow:
    """One check. verdict: "unverified", "info", or "quiet" for one that did not fire; remedy: what to declare, "" unless
    the check prevents a rank."""

    title: str
    verdict: str
    evidence: str
    meaning: str
    remedy: str
    drawings: list[Drawing]

    @property
    def words(self) -> str:
        """The verdict for people."""
        return VERDICTS[self.verdict]

    @property
    def mark(self) -> str:
        """The verdict as one sign."""
        return MARKS[self.verdict]


def check_rows(evaluation: Evaluation) -> list[CheckRow]:
    """The checks of a completed evaluation and the flags of its other parts; what fired comes first, gravest first."""
    report: Mapping[str, Any] = evaluation.report or {}
    records = [CheckRecord.model_validate(record) for record in report.get("checks", [])]
    flags = [Flag.model_validate(flag) for flag in evaluation.flags]
    raised = {flag.check: flag for flag in sorted(flags, key=lambda flag: flag.severity)}  # the gravest of a check stays
    rows = [_row(record, raised.get(record.check)) for record in records]
    listed = {record.check for record in records}
    rows += [CheckRow(flag.check, flag.severity, flag.evidence, "", "", []) for flag in flags if flag.check not in listed]
    return sorted(rows, key=lambda row: list(VERDICTS).index(row.verdict))


def _row(record: CheckRecord, flag: Flag | None) -> CheckRow:
    """A record; its flag, where there is one, has the last word (a declaration turns "unverified" into "info")."""
    verdict = flag.severity if flag else record.severity if record.fired else "quiet"
    remedy = record.remedy if verdict == "unverified" else ""
    return CheckRow(record.title, verdict, record.evidence, record.meaning, remedy, list(_drawings(record.curves)))


def _drawings(curves: list[Curve]) -> Iterator[Drawing]:
    for _, group in groupby(curves, key=lambda curve: (curve.x, curve.y)):
        yield Drawing.of(list(group))
