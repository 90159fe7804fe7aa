"""A running evaluation as the bracket it is becoming, on the same scale: what stands, what is in play, what fell."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from arena.web.svg.bracket import HEIGHT, MIDDLE, SCALE_HEIGHT, axis
from arena.web.svg.marks import BASE, EDGE, FALL, GAP, LINE, along


def progress(*, done: int, total: int, survivors: int, scale: bool = False) -> SafeString:
    """Draws the evaluation from 0 to 100 % of its examples, 24 px high (44 with `scale`, which adds an axis).

    done: examples whose verdict can no longer change. total: all examples. survivors: examples still correct so far.
    From the left: settled and standing, then in play; the tall tick is the upper bound on robust accuracy so far, which
    only moves left; right of it a thin line for the examples that fell.
    """
    bound = survivors / total if total else 1.0
    held = max(done - (total - survivors), 0) / total if total else 0.0
    return format_html(
        '<svg class="bracket progress" width="100%" height="{}" role="progressbar" aria-label="Examples settled" '
        'aria-valuemin="0" aria-valuemax="{}" aria-valuenow="{}" aria-valuetext="{} of {} examples settled, {} still standing" '
        'overflow="visible">{}'
        '<rect class="base" y="8" width="100%" height="8" rx="2" fill="{}"/>'
        '<line class="broken" x1="{}" x2="100%" y1="{}" y2="{}" stroke="{}" stroke-width="3"/>'
        '<rect class="play" y="8" width="{}" height="8" rx="2" fill="{}"/>'
        '<rect class="gap" y="8" width="{}" height="8" rx="2" fill="{}"/>'
        '<line class="edge" x1="{}" x2="{}" y1="2" y2="22" stroke="{}" stroke-width="3"/></svg>',
        *(SCALE_HEIGHT if scale else HEIGHT, total, done, done, total, survivors),
        axis() if scale else "",
        BASE,
        *(along(bound), MIDDLE, MIDDLE, FALL),
        *(along(bound), LINE),
        *(along(held), GAP),
        *(along(bound), along(bound), EDGE),
    )
