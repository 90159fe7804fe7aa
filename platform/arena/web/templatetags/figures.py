"""Drawings and figures for templates."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from arena.evaluations.models import Evaluation
from arena.jobs.progress import LiveProgress
from arena.leaderboards.queries import Event, Row
from arena.web import svg, wording
from arena.web.figures import bracket_of, step_label
from arena.web.svg.marks import percent

register = template.Library()

register.filter("percent", percent)
register.filter("duration", wording.duration)
register.filter("rows", wording.rows)
register.filter("file_size", wording.file_size)


@register.filter
def thousands(count: int) -> str:
    """10000 as "10,000"."""
    return f"{count:,}"


@register.filter
def index(values: tuple[float, ...], place: int) -> float:
    """The value at a place, for two lists that are walked together."""
    return values[place]


@register.filter
def general(value: float) -> str:
    """A figure as people write it: 0.25, 1, 1e-05."""
    return f"{value:g}"


@register.filter
def short_digest(digest: str) -> str:
    """The ends of a digest, enough to compare by eye."""
    return f"{digest[:8]}…{digest[-4:]}"


@register.filter
def bound(progress: LiveProgress) -> float:
    """The least upper bound on robust accuracy so far: the share of all examples that still stand."""
    return progress.survivors / progress.total if progress.total else 1.0


@register.simple_tag
def bracket(row: Evaluation | Row, *, scale: bool = False) -> SafeString:
    """The bracket of a completed evaluation, or of its row on a board; nothing for any other."""
    figures = bracket_of(row)
    return svg.bracket(figures, scale=scale) if figures else SafeString("")


@register.simple_tag
def bracket_of_figures(figures: svg.Bracket, *, scale: bool = False) -> SafeString:
    """A bracket of figures that are no evaluation's own, such as a smoothed classifier's."""
    return svg.bracket(figures, scale=scale)


@register.simple_tag
def drawn_bracket(figures: svg.Bracket) -> SafeString:
    """The bracket of these figures."""
    return svg.bracket(figures)


@register.simple_tag
def progress_bar(progress: LiveProgress, *, scale: bool = False) -> SafeString:
    """How far a running evaluation is."""
    return svg.progress(done=progress.done, total=progress.total, survivors=progress.survivors, scale=scale)


@register.simple_tag
def falls(events: list[Event]) -> SafeString:
    """A defense's history as labelled steps."""
    return svg.falls([svg.Step(event.at, event.robust_accuracy, step_label(event)) for event in events])


@register.simple_tag
def standing(shares: list[float]) -> SafeString:
    """A line of falling steps."""
    return svg.standing(shares)
