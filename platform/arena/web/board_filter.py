"""Which rows of a board a reader asked for, read from the address, so that a filtered board can be shared and bookmarked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from arena.leaderboards.queries import Board, Row


@dataclass(frozen=True)
class BoardFilter:
    """Empty fields ask for everything.

    search: words that all stand in the entry's or the team's name, in any case. format: a submission format.
    year: of entering, as digits. data: "own" for entries trained on the challenge's data set alone, "extra" for the others.
    verified: only entries that rank.
    """

    search: str = ""
    format: str = ""
    year: str = ""
    data: str = ""
    verified: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> BoardFilter:
        """Reads an address's query; a value that no row has selects no row."""
        return cls(
            search=query.get("q", "").strip(),
            format=query.get("format", ""),
            year=query.get("year", ""),
            data=query.get("data", ""),
            verified=query.get("verified") == "1",
        )

    @property
    def active(self) -> bool:
        """Whether anything was asked for."""
        return self != BoardFilter()

    def apply(self, board: Board) -> Board:
        """The board with the matching rows only; they keep the ranks that they hold on the whole board."""
        return replace(
            board,
            ranked=self._matching(board.ranked),
            plain=() if self.verified else self._matching(board.plain),
            running=() if self.verified else self._matching(board.running),
            unverified=() if self.verified else self._matching(board.unverified),
        )

    def _matching(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        words = self.search.casefold().split()
        return tuple(row for row in rows if self._takes(row, words)) if self.active else rows

    def _takes(self, row: Row, words: list[str]) -> bool:
        names = f"{row.name} {row.team_name}".casefold()
        return (
            self.format in ("", row.format)
            and self.data in ("", "extra" if row.extra_data else "own")
            and self.year in ("", str(row.entered.year))
            and all(word in names for word in words)
        )


def choices(board: Board) -> dict[str, list[str]]:
    """The formats and years that the whole board has, for the form: formats by name, the latest year first."""
    return {
        "formats": sorted({row.format for row in board.rows}),
        "years": sorted({str(row.entered.year) for row in board.rows}, reverse=True),
    }
