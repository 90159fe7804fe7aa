"""How far a running evaluation is: examples that fell, examples that are settled and stand, examples still in play."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from arena.web.svg.marks import EDGE, FALL, LINE, along


def progress(*, done: int, total: int, survivors: int) -> SafeString:
    """Draws the bar, 8 px high: fallen from the left, then settled and standing; the rest is still in play.

    done: examples whose verdict can no longer change. total: all examples. survivors: examples still correct so far.
    """
    share = done / total if total else 0.0
    fallen = min((total - survivors) / total if total else 0.0, share)
    return format_html(
        '<svg class="progress" width="100%" height="8" role="progressbar" aria-label="Examples settled" aria-valuemin="0" '
        'aria-valuemax="{}" aria-valuenow="{}" aria-valuetext="{} of {} examples settled, {} still standing">'
        '<rect class="base" width="100%" height="8" rx="4" fill="{}"/>'
        '<rect class="held" width="{}" height="8" rx="4" fill="{}"/>'
        '<rect class="broken" width="{}" height="8" rx="4" fill="{}"/></svg>',
        *(total, done, done, total, survivors),
        *(LINE, along(share), EDGE, along(fallen), FALL),
    )
