"""The ranked rows of a board as HTML: one function writes a thousand of them, where a template takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from arena.leaderboards.queries import Row
from arena.leaderboards.significance import Significance
from arena.rankings.defenses import show_rank_set
from arena.web import svg
from arena.web.figures import Drop, bracket_of
from arena.web.svg.marks import percent
from evaluator.manifests.spec import Challenge

_EXTRA = " · extra data"
_NONE = '<span class="muted">–</span>'


@dataclass(frozen=True)
class Columns:
    """What the two columns of figures show that differ from board to board.

    lead: "Robust accuracy" or, where the board ranks by it, "mCE"; side: "Certified", or the other one of the two.
    """

    lead: str
    side: str

    @classmethod
    def of(cls, challenge: Challenge) -> Columns:
        """Those of a challenge's board."""
        if challenge.ranking.by == "mce":
            return cls("mCE", "Robust")
        return cls("Robust accuracy", "mCE" if challenge.tabulates else "Certified")


def board_rows(rows: Iterable[tuple[Row, Drop | None]], sure: Mapping[str, Significance], columns: Columns) -> SafeString:
    """One table row for each ranked defense. sure: submission's id -> its rank set; a rank without one stands alone."""
    prefix = reverse("web:entry", args=["x"]).removesuffix("x/")  # once: it costs more than a row
    return mark_safe("".join([_row(row, fall, sure, prefix, columns) for row, fall in rows]))  # noqa: S308  # escaped in _row


def _row(row: Row, fall: Drop | None, sure: Mapping[str, Significance], prefix: str, columns: Columns) -> str:
    known, name, entry = sure.get(row.submission_id), escape(row.name), row.submission_id
    figures = bracket_of(row)
    return (
        f'<tr role="row" id="entry-{entry}" data-name="{name}" data-rank="{row.rank}" data-score="{row.robust_accuracy}">'
        f'<td role="cell" class="rank">{show_rank_set(known.rank_set) if known else row.rank}</td>'
        f'<th role="rowheader" scope="row">'
        f'<a class="entry break" id="link-{entry}" href="{prefix}{entry}/"><bdi>{name}</bdi></a>'
        f'<span class="who-made break"><bdi>{escape(row.team_name)}</bdi>{_EXTRA if row.extra_data else ""}</span>'
        f"{_alarm(row)}</th>"
        f'<td role="cell" class="n">{_lead(row, columns)}</td>'
        f'<td role="cell" class="bracket-cell">{svg.bracket(figures) if figures else ""}</td>'
        f'<td role="cell" class="n wide-only">{_side(row, columns)}</td>'
        f'<td role="cell" class="n wide-only">{_percent(row.clean_accuracy)}</td>'
        f'<td role="cell" class="small wide-only">{_last(row, fall)}</td></tr>\n'
    )


def _lead(row: Row, columns: Columns) -> str:
    if columns.lead == "mCE":
        relative = f"mCE, relative {_percent(row.relative_mce)}"
        return f'<span class="big">{_percent(row.mce)}</span> %<span class="under">{relative}</span>'
    interval = f"{_percent(row.interval_low)}–{_percent(row.interval_high)}"
    return f'<span class="big">{_percent(row.robust_accuracy)}</span> %<span class="under">{interval}</span>'


def _side(row: Row, columns: Columns) -> str:
    return _percent({"mCE": row.mce, "Robust": row.robust_accuracy, "Certified": row.certified_accuracy}[columns.side])


def _alarm(row: Row) -> str:
    """That attacks have refuted a certificate, where they have."""
    if row.certificate is None or not row.certificate.alarm:
        return ""
    return f'<span class="under fall"><span class="chip warn">refuted</span> {escape(row.certificate.alarm)}</span>'


def _percent(share: float | None) -> str:
    return _NONE if share is None else escape(percent(share))


def _last(row: Row, fall: Drop | None) -> str:
    if fall is None:
        said = "none since it entered" if row.robust_accuracy else "nothing is left to fall"
        return f'<span class="muted">{said}</span>'
    shown = f'<span class="fall">−{_percent(fall.drop)} <bdi>{escape(fall.cause)}</bdi></span>'
    return f'{shown} <span class="under">{fall.at:%Y-%m-%d}</span>'
