"""An entry's errors under common corruptions as its page shows them: the table, mCE and relative mCE."""

from __future__ import annotations

from dataclasses import dataclass

from arena.evaluations.models import Evaluation
from evaluator.records.report import CorruptionRecord

_STEPS = 10  # of the heat map's colors


@dataclass(frozen=True)
class Cell:
    """error: a share in [0, 1]; shade: the heat map's class, darker the more is right."""

    error: float
    shade: str


@dataclass(frozen=True)
class Line:
    """One kind of corruption. ratio: its CE, None where the standard network makes no error."""

    kind: str
    cells: tuple[Cell, ...]
    ratio: float | None


@dataclass(frozen=True)
class CorruptionSection:
    """record: as the evaluation left it; lines: one for each kind."""

    record: CorruptionRecord
    lines: tuple[Line, ...]

    @property
    def clean_error(self) -> float:
        """The share of clean images that are not given their class."""
        return self.record.clean_errors / self.record.examples


def corruption_section(evaluation: Evaluation) -> CorruptionSection | None:
    """The section of a completed evaluation; None where the challenge asks for no table."""
    if not evaluation.corruptions:
        return None
    record = CorruptionRecord.model_validate(evaluation.corruptions)
    lines = [
        Line(kind, tuple(_cell(count / record.examples) for count in counts), ratio)
        for kind, counts, ratio in zip(record.kinds, record.errors, record.ratios, strict=True)
    ]
    return CorruptionSection(record, tuple(lines))


def _cell(error: float) -> Cell:
    return Cell(error, f"h{round((1 - error) * _STEPS)}")
