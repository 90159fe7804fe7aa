"""A board as comma-separated values, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io

from arena.leaderboards.queries import Board, Row

COLUMNS = (
    "rank",
    "entry",
    "name",
    "team",
    "format",
    "robust_accuracy",
    "interval_low",
    "interval_high",
    "certified_accuracy",
    "clean_accuracy",
    "rows",
    "examples",
    "entered",
    "reasons",
)


def board_csv(board: Board) -> str:
    """One line for each judged entry, ranked ones first; accuracies are shares in [0, 1], an unknown figure is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_line(row) for row in (*board.ranked, *board.unverified))
    return text.getvalue()


def _line(row: Row) -> list[object]:
    return [
        row.rank,
        row.submission_id,
        _plain(row.name),
        _plain(row.team_name),
        row.format,
        row.robust_accuracy,
        row.interval_low,
        row.interval_high,
        row.certified_accuracy,
        row.clean_accuracy,
        row.rows,
        row.examples,
        row.entered.isoformat(),
        _plain(" ".join(row.reasons)),
    ]


def _plain(text: str) -> str:
    """Keeps spreadsheets from running a name as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
