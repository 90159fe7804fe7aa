"""The matrix as HTML: ten thousand cells are written by one function, since a template would take seconds."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from arena.leaderboards.matrix import Square

STEPS = 10
_WORDS = {
    "queued": "waits",
    "running": "is being played",
    "attack_failed": "the attack failed",
    "defense_failed": "the defense failed",
    "platform_failed": "the platform failed",
    "cancelled": "was cancelled",
}
_SIGNS = {"queued": "·", "running": "…"}


def heat_cells(squares: Sequence[Square | None]) -> SafeString:
    """One row's cells: accuracy left in percent, darker the more survived, each a link to its own page."""
    prefix = reverse("web:cell", args=["x"]).removesuffix("x/")  # once: it costs more than a whole row
    return mark_safe("".join([_cell(square, prefix) for square in squares]))  # noqa: S308  # ids are ours: letters and digits


def _cell(square: Square | None, prefix: str) -> str:
    if square is None:
        return '<td class="na"><span>–</span></td>'
    address = f"{prefix}{square.cell_id}/"
    if square.left is None:
        word = _WORDS.get(square.state, square.state)
        return f'<td class="na"><a href="{address}" title="{word}">{_SIGNS.get(square.state, "n/a")}</a></td>'
    return f'<td class="h{round(square.left * STEPS)}"><a href="{address}">{100 * square.left:.1f}</a></td>'


def sorted_rows(squares: Sequence[Sequence[Square | None]], column: int) -> list[int]:
    """Indices of rows by what one attack left them, most first; n/a never before a number."""
    return sorted(range(len(squares)), key=lambda row: -_left(squares[row][column]))


def sorted_columns(squares: Sequence[Square | None]) -> list[int]:
    """Indices of columns by what they left of one defense, least first; n/a never before a number."""
    return sorted(range(len(squares)), key=lambda column: _left(squares[column]) if _known(squares[column]) else 2.0)


def _known(square: Square | None) -> bool:
    return square is not None and square.left is not None


def _left(square: Square | None) -> float:
    return -1.0 if square is None or square.left is None else square.left
