"""A defense's robust accuracy over time: a line that only steps down, each step labelled with the attack that caused it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from arena.web.svg.marks import EDGE, FALL, LINE, MUTED, percent

WIDTH, LEFT, RIGHT, TOP, PLOT, ROW = 360, 40, 8, 10, 60, 15
LABELS = 5  # the deepest steps get one
LETTERS = 38


@dataclass(frozen=True)
class Step:
    """From `at` on, robust accuracy is `share` (in [0, 1]); label: who or what made it so."""

    at: datetime
    share: float
    label: str


def falls(steps: Sequence[Step]) -> SafeString:
    """Draws the steps, oldest first, over their own range, with the dates of the first and the last below.

    Returns nothing for fewer than two: a line needs two ends.
    """
    if len(steps) < 2:
        return SafeString("")
    first, last = steps[0].at, steps[-1].at
    span = (last - first).total_seconds() or 1.0
    high, low = max(step.share for step in steps), min(step.share for step in steps)

    def place(step: Step) -> tuple[float, float]:
        along = (step.at - first).total_seconds() / span
        down = (high - step.share) / (high - low) if high > low else 0.0
        return LEFT + along * 0.92 * (WIDTH - LEFT - RIGHT), TOP + down * PLOT

    points = [place(step) for step in steps]
    labelled = _deepest(steps)
    floor = TOP + PLOT + ROW * len(labelled) + 8
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points[1:])
    drawn = "".join(
        _label(points[index], TOP + PLOT + ROW * (len(labelled) - row), steps[index].label)
        for row, index in enumerate(labelled)
    )
    dots = "".join(_dot(point, step) for point, step in zip(points[1:], steps[1:], strict=True))
    label = f"Robust accuracy from {percent(steps[0].share)} % to {percent(steps[-1].share)} % in {len(steps) - 1} steps."
    return format_html(
        '<svg class="plot falls" viewBox="0 0 {} {}" role="img" aria-label="{} Listed below."><g aria-hidden="true">{}</g>'
        '<path class="main" d="{}H{}" fill="none" stroke="{}" stroke-width="1.5"/>{}</svg>',
        *(WIDTH, floor + 16, label, mark_safe(_axis(high, low, first, last, floor) + drawn)),  # noqa: S308 (escaped there)
        *(path, WIDTH - RIGHT, EDGE, mark_safe(dots)),  # noqa: S308 (escaped there)
    )


def _dot(point: tuple[float, float], step: Step) -> str:
    """The end of a step; pointing at it shows what happened."""
    shown = escape(f"{step.at:%Y-%m-%d}: {percent(step.share)} %, {step.label}")
    place = f'cx="{point[0]:.1f}" cy="{point[1]:.1f}"'
    return f'<circle class="last" {place} r="2.5" fill="{FALL}"><title>{shown}</title></circle>'


def _deepest(steps: Sequence[Step]) -> list[int]:
    """The steps to label, oldest first."""
    drops = {index: steps[index - 1].share - steps[index].share for index in range(1, len(steps))}
    deepest = sorted(drops, key=lambda index: -drops[index])[:LABELS]
    return sorted(index for index in deepest if drops[index] > 0)


def _label(point: tuple[float, float], top: float, text: str) -> str:
    """The step's name on a row of its own, hung from the step."""
    x, y = point
    right = x > WIDTH / 2
    short = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
    return (
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 3:.1f}" y2="{top:.1f}" stroke="{LINE}"/>'
        f'<text x="{x + (-5 if right else 5):.1f}" y="{top:.1f}" text-anchor="{"end" if right else "start"}" font-size="11" '
        f'fill="{MUTED}">{escape(short)}</text>'
    )


def _axis(high: float, low: float, first: datetime, last: datetime, floor: float) -> str:
    def text(words: str, x: float, y: float, anchor: str) -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="11" fill="{MUTED}">{escape(words)}</text>'

    ends = text(percent(high), LEFT - 6, TOP + 4, "end") + (
        text(percent(low), LEFT - 6, TOP + PLOT + 4, "end") if low < high else ""
    )
    rule = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="{LINE}"/>'
    dates = text(f"{first:%Y-%m-%d}", LEFT, floor + 13, "start") + text(f"{last:%Y-%m-%d}", WIDTH - RIGHT, floor + 13, "end")
    return ends + rule + dates
