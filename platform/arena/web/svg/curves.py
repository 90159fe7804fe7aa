"""What an honesty check measured, as lines on one pair of axes; the figures stand in a table behind the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from arena.web.svg.marks import EDGE, LINE, MUTED
from evaluator.records.report import Curve

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 34
STROKES = ((EDGE, ""), (MUTED, "5 3"), (EDGE, "1 3"), (MUTED, "9 3 2 3"))


def curves(lines: Sequence[Curve]) -> SafeString:
    """Draws at most four `lines` that share their axes; nothing where no line has two points.

    Accuracies and shares are drawn from 0 to 1, other values over their own range with 0 in it.
    """
    drawn = [line for line in lines if len(line.points) > 1][: len(STROKES)]
    if not drawn:
        return SafeString("")
    xs, ys = ([point[axis] for line in drawn for point in line.points] for axis in (0, 1))
    low, high = (0.0, 1.0) if min(ys) >= 0 and max(ys) <= 1 else (min(*ys, 0.0), max(*ys, 0.0))
    across, up = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT), _Scale(low, high, HEIGHT - BOTTOM, TOP)
    paths = [_path(line, number, across, up) for number, line in enumerate(drawn)]
    label = "; ".join(f"{line.name}: {line.y} from {_end(line, 0)} to {_end(line, -1)}" for line in drawn)
    first = drawn[0]
    return format_html(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>',
        *(WIDTH, HEIGHT, f"{first.y} against {first.x}. {label}. Table below."),
        *(_axes(first, (min(xs), max(xs)), (low, high), round(up(max(low, 0.0)), 1)), mark_safe("".join(paths))),  # noqa: S308
    )


@dataclass(frozen=True)
class _Scale:
    """Figures from `low` to `high` as coordinates from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.stop - self.start)


def _path(line: Curve, number: int, across: _Scale, up: _Scale) -> str:
    color, dashes = STROKES[number]
    places = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in line.points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    kind = "main" if color == EDGE else "other"
    return f'<path class="{kind}" d="M{places}" fill="none" stroke="{color}" stroke-width="1.5"{dashed}/>'


def _axes(line: Curve, x: tuple[float, float], y: tuple[float, float], floor: float) -> SafeString:
    """Frame, the ends of both scales, and what they measure."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def text(content: str, left: float, top: float, anchor: str) -> str:
        return f'<text x="{left}" y="{top}" text-anchor="{anchor}" font-size="11" fill="{MUTED}">{escape(content)}</text>'

    def rule(x1: float, y1: float, x2: float, y2: float) -> str:
        return f'<line class="axis" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{LINE}"/>'

    parts = (
        rule(LEFT, floor, right, floor), rule(LEFT, TOP, LEFT, bottom),
        text(f"{y[1]:.3g}", LEFT - 5, TOP + 4, "end"), text(f"{y[0]:.3g}", LEFT - 5, bottom + 4, "end"),
        text(f"{x[0]:.3g}", LEFT, bottom + 15, "start"), text(f"{x[1]:.3g}", right, bottom + 15, "end"),
        text(f"{line.y} against {line.x}", (LEFT + right) / 2, HEIGHT - 5, "middle"),
    )  # fmt: skip
    return mark_safe(f'<g aria-hidden="true">{"".join(parts)}</g>')  # noqa: S308 (escaped above)


def _end(line: Curve, index: int) -> str:
    return f"{line.points[index][1]:.3g}"
