"""Going through the examples in pieces: what a listener hears is about the whole run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from arena.running.listening import SILENT, Listener, in_pieces
from evaluator.errors import Cancelled
from evaluator.records.report import Progress


def judged(first: int, last: int, listener: Listener) -> Any:
    """A piece whose every second example falls, for ten rows and a second an example."""
    n = last - first
    listener.on_progress(Progress("attacking", "pgd", n // 2, n, n, forward_rows=5 * n, seconds=n / 2))
    bits = [row % 2 for row in range(n)]
    return SimpleNamespace(report=SimpleNamespace(robust_bits=bits, forward_rows=10 * n, backward_rows=2 * n, seconds=float(n)))


def test_progress_of_a_piece_is_reported_as_that_of_the_whole_run() -> None:
    heard: list[Progress] = []
    done = in_pieces(10, 4, Listener(heard.append), judged)
    assert [len(piece.report.robust_bits) for piece in done] == [4, 4, 2]
    assert [(step.done, step.total) for step in heard] == [(2, 10), (6, 10), (9, 10)]
    assert [step.survivors for step in heard] == [10, 8, 6]  # two of four fell in each piece that is done
    assert [step.forward_rows for step in heard] == [20, 60, 90]
    assert [step.backward_rows for step in heard] == [0, 8, 16]
    assert [step.seconds for step in heard] == [2, 6, 9]
    assert [step.seconds_left for step in heard] == [8, 4, 1]


def test_a_listener_that_cancels_ends_the_run_and_a_silent_one_never_does() -> None:
    with pytest.raises(Cancelled):
        Listener(cancelled=lambda: True).tick()
    SILENT.tick()
    assert len(in_pieces(3, 1, SILENT, judged)) == 3
