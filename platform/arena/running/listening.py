"""Who hears how a run goes, and says whether it goes on: the one protocol of the command line, the workers and the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from evaluator.errors import Cancelled
from evaluator.records.cell_report import CellReport
from evaluator.records.report import Progress, Report


def _nothing(heard: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Listener:
    """Hears a run. Without arguments: nobody does, and it goes on to its end.

    on_progress: called several times a second. on_log: given the submission's own output (bounded, untrusted bytes) when its
    process ends. cancelled: polled within passes too; once it is true, the run raises Cancelled.
    """

    on_progress: Callable[[Progress], None] = _nothing
    on_log: Callable[[bytes], None] = _nothing
    cancelled: Callable[[], bool] = lambda: False

    def tick(self) -> None:
        """To be called again and again. Raises Cancelled once the run is not wanted anymore."""
        if self.cancelled():
            raise Cancelled("the evaluation was cancelled.")


SILENT = Listener()


class _Judged(Protocol):
    """A completed piece."""

    @property
    def report(self) -> Report | CellReport: ...


Piece = TypeVar("Piece", bound=_Judged)


def in_pieces(total: int, size: int, listener: Listener, play: Callable[[int, int, Listener], Piece]) -> list[Piece]:
    """Judges `total` examples in pieces of the challenge's size, so that a whole run equals its shards bit for bit.

    play: given the first example of a piece, the one after its last, and a listener that makes the piece's progress the run's.
    """
    done: list[Piece] = []
    for first in range(0, total, size):
        heard = _of_the_whole(listener, first, total, [piece.report for piece in done])
        done.append(play(first, min(first + size, total), heard))
    return done


def _of_the_whole(listener: Listener, before: int, total: int, reports: Sequence[Report | CellReport]) -> Listener:
    """Progress of one piece as progress of the whole run. before: examples of the pieces that are done, as are `reports`."""
    survivors = sum(sum(report.robust_bits) for report in reports)
    forward, backward = sum(r.forward_rows for r in reports), sum(r.backward_rows for r in reports)
    seconds = sum(report.seconds for report in reports)

    def report(piece: Progress) -> None:
        settled, spent = before + piece.done, seconds + piece.seconds
        listener.on_progress(
            replace(
                piece,
                done=settled,
                total=total,
                survivors=survivors + piece.survivors + total - before - piece.total,
                forward_rows=forward + piece.forward_rows,
                backward_rows=backward + piece.backward_rows,
                seconds=spent,
                seconds_left=spent / settled * (total - settled) if settled else None,
            )
        )

    return replace(listener, on_progress=report)
