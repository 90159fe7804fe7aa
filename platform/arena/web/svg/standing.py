"""Robust accuracy as steps: each step down is one attack (or, later, one event) that broke something."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

from arena.web.svg.marks import EDGE, FALL, percent

WIDTH, HEIGHT, MARGIN = 112, 24, 3


def standing(shares: Sequence[float]) -> SafeString:
    """Draws a step line through `shares` (in [0, 1], oldest first) on a fixed scale from 0 to 1, with a dot at the last.

    Returns nothing for fewer than two figures: a line needs two ends.
    """
    if len(shares) < 2:
        return SafeString("")
    step = (WIDTH - 2 * MARGIN) / (len(shares) - 1)
    points = [(MARGIN + index * step, HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)) for index, share in enumerate(shares)]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points[1:])
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="from {} % to {} % in {} steps">'
        '<path class="line" d="{}" fill="none" stroke="{}" stroke-width="1.5"/>'
        '<circle class="last" cx="{}" cy="{}" r="2.5" fill="{}"/></svg>',
        *(WIDTH, HEIGHT, percent(shares[0]), percent(shares[-1]), len(shares) - 1, path, EDGE),
        *(f"{points[-1][0]:.1f}", f"{points[-1][1]:.1f}", FALL),
    )
