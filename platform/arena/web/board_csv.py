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
    "extra_data",
    "robust_accuracy",
    "interval_low",
    "interval_high",
    "certified_accuracy",
    "clean_accuracy",
    "classifier",
    "certificate",
    "average_certified_radius",
    "certified_accuracies",
    "rows",
    "examples",
    "entered",
    "reasons",
    "verified",
    "mce",
    "relative_mce",
)


def board_csv(board: Board) -> str:
    """One line for each judged entry, ranked ones first; accuracies are shares in [0, 1], an unknown figure is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in line] for line in board_lines(board))
    return text.getvalue()


def board_lines(board: Board) -> list[list[object]]:
    """The values of COLUMNS for each judged entry, ranked ones first; None for an unknown figure."""
    return [_line(row) for row in (*board.ranked, *board.plain, *board.unverified)]


def _line(row: Row) -> list[object]:
    return [
        row.rank,
        row.submission_id,
        row.name,
        row.team_name,
        row.format,
        row.extra_data,
        row.robust_accuracy,
        row.interval_low,
        row.interval_high,
        row.certified_accuracy,
        row.clean_accuracy,
        *_proven(row),
        row.rows,
        row.examples,
        row.entered.isoformat(),
        " ".join(row.reasons),
        row.verified,
        row.mce,
        row.relative_mce,
    ]


def _proven(row: Row) -> list[object]:
    """Which classifier the line is about, and of a certified one what is proven: shares as "radius:share" by radius."""
    found = row.certificate
    if found is None:
        return ["itself", None, None, None]
    shares = " ".join(f"{radius:g}:{share:g}" for radius, share in zip(found.radii, found.accuracies, strict=True))
    return [found.classifier, found.method, found.average_radius, shares]


def _plain(value: object) -> object:
    """Keeps spreadsheets from running a name as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
