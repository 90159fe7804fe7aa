"""Certified accuracy against radius, several classifiers on one pair of axes, published curves as dashed lines among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from arena.web.svg.marks import LINE, MUTED, PROOF

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 36, 26, 10, 38
DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 4", "1 3")
_STEPS: tuple[float, ...] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    5,
    10,
    25,
    50,
    100,
)  # of the radius axis
_APART = 13  # px between two keys at the right edge


@dataclass(frozen=True)
class ProofCurve:
    """One line. key: what stands at its end and in the legend; points: (radius, share in [0, 1]) by radius."""

    key: str
    name: str
    points: tuple[tuple[float, float], ...]
    published: bool = False


def proof_curves(lines: Sequence[ProofCurve], *, norm: str) -> SafeString:
    """Draws the lines over radii from 0; nothing where no line has two points. The figures belong in a table beside it."""
    drawn = [line for line in lines if len(line.points) > 1]
    if not drawn:
        return SafeString("")
    reach = max(radius for line in drawn for radius, _ in line.points)

    def across(radius: float) -> float:
        return LEFT + radius / reach * (WIDTH - LEFT - RIGHT)

    def up(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    ends = _spread([up(line.points[-1][1]) for line in drawn])
    parts = [_axes(reach, norm, across, up)]
    number = 0
    for line, end in zip(drawn, ends, strict=True):
        places = [(across(radius), up(share)) for radius, share in line.points]
        dashes = "3 3" if line.published else DASHES[number % len(DASHES)]
        number += not line.published
        parts.append(_line(line, places, end, dashes))
    label = "; ".join(
        f"{line.name}: {100 * line.points[0][1]:.0f} % at {line.points[0][0]:g}, {100 * line.points[-1][1]:.0f} % at "
        f"{line.points[-1][0]:g}"
        for line in drawn
    )
    return format_html(
        '<svg class="plot proofs" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        *(WIDTH, HEIGHT, f"Certified accuracy against radius. {label}. Table below."),
        mark_safe("".join(parts)),  # noqa: S308 (escaped where it is made)
    )


def _line(line: ProofCurve, places: list[tuple[float, float]], end: float, dashes: str) -> str:
    color, kind = (MUTED, "other") if line.published else (PROOF, "proof-line")
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    dots = "".join(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>' for x, y in places)
    (x, y), edge = places[-1], WIDTH - RIGHT
    return (
        f'<path class="{kind}" d="M{path}" fill="none" stroke="{color}" stroke-width="1.75"{dashed}/>'
        f"{'' if line.published else dots}"
        f'<path class="axis" d="M{x:.1f} {y:.1f}L{edge + 6} {end:.1f}" fill="none" stroke="{LINE}"/>'
        f'<text class="{kind}" x="{edge + 9}" y="{end + 4:.1f}" font-size="12" fill="{color}">{escape(line.key)}</text>'
    )


def _spread(wanted: list[float]) -> list[float]:
    """Heights near the wanted ones, far enough apart that no key touches another, none below the drawing's floor."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index], reverse=True)
    found, above = [0.0] * len(wanted), float(HEIGHT - BOTTOM + _APART)
    for index in order:
        above = found[index] = min(wanted[index], above - _APART)
    return found


def _axes(reach: float, norm: str, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    """Grid at every quarter of accuracy and at rounded radii."""

    def text(content: str, x: float, y: float, anchor: str) -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="{MUTED}">{escape(content)}</text>'

    step = next((size for size in _STEPS if reach / size <= 6), reach)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = up(share)
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>')
        parts.append(text(f"{100 * share:.0f}", LEFT - 6, y + 4, "end"))
    for number in range(int(reach / step + 1e-9) + 1):
        parts.append(text(f"{number * step:g}", across(number * step), bottom + 15, "middle"))
    parts.append(text(f"certified accuracy (%) against {norm} radius", (LEFT + right) / 2, HEIGHT - 5, "middle"))
    return f'<g aria-hidden="true">{"".join(parts)}</g>'
