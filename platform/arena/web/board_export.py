"""A board, and the bits behind it, as files for spreadsheets and scripts: CSV, JSON, Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from arena.challenges.models import Challenge
from arena.leaderboards.queries import Board
from arena.matrix.export_queries import BitRow
from arena.web.board_csv import COLUMNS, board_lines

TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}


def board_json(board: Board, challenge: Challenge) -> str:
    """The entries as objects under "entries", with what they were judged under."""
    entries = [dict(zip(COLUMNS, line, strict=True)) for line in board_lines(board)]
    about = {"challenge": challenge.slug, "title": challenge.title, "rules_digest": challenge.rules_digest}
    return json.dumps(about | {"revision": board.revision, "entries": entries}, ensure_ascii=False)


def board_parquet(board: Board) -> bytes:
    """The same columns as the CSV file, typed; an unknown figure is null."""
    import pyarrow  # type: ignore[import-untyped]  # ships no types

    lines = board_lines(board)
    kinds = dict.fromkeys(COLUMNS, pyarrow.string())
    kinds |= dict.fromkeys(("extra_data", "verified"), pyarrow.bool_())
    kinds |= dict.fromkeys(("rank", "rows", "examples"), pyarrow.int64())
    kinds |= {name: pyarrow.float64() for name in COLUMNS if name.endswith(("_accuracy", "_low", "_high", "_radius", "mce"))}
    return _parquet({name: pyarrow.array([line[at] for line in lines], kinds[name]) for at, name in enumerate(COLUMNS)})


def bits_parquet(rows: Iterable[BitRow]) -> bytes:
    """One row for each example of each entry of the board: right without attack, and by now robust."""
    known = list(rows)
    lengths = [len(row.correct) for row in known]
    return _parquet(
        {
            "entry": _repeated([row.entry for row in known], lengths),
            "example": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths] or [np.zeros(0, np.int32)]),
            "correct": np.concatenate([row.correct for row in known] or [np.zeros(0, bool)]),
            "robust": np.concatenate([row.robust for row in known] or [np.zeros(0, bool)]),
        }
    )


def _repeated(names: Sequence[str], lengths: Sequence[int]) -> Any:
    """Each name as often as its length says, stored once."""
    import pyarrow

    places = np.repeat(np.arange(len(names), dtype=np.int32), lengths)
    return pyarrow.DictionaryArray.from_arrays(places, pyarrow.array(names, pyarrow.string()))


def _parquet(columns: dict[str, Any]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
