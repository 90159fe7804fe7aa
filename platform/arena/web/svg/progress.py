"""A running evaluation as the bracket it is becoming, on the same scale: what stands, what is in play, what fell."""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe

from arena.web.svg.bracket import HEIGHT, MIDDLE, SCALE_HEIGHT, axis, bar, line
from arena.web.svg.marks import BASE, EDGE, FALL, GAP, LINE, along


def progress(*, done: int, total: int, survivors: int, scale: bool = False) -> SafeString:
    """Draws the evaluation from 0 to 100 % of its examples, 24 px high (44 with `scale`, which adds an axis).

    done: examples whose verdict can no longer change. total: all examples. survivors: examples still correct so far.
    From the left: settled and standing, then in play. The tall tick is the upper bound on robust accuracy so far, which
    only moves left. Right of it a thin line for the examples that fell.
    """
    bound = survivors / total if total else 1.0
    held = max(done - (total - survivors), 0) / total if total else 0.0
    at = along(bound)
    marks = (
        axis() if scale else "",
        bar("base", 1.0, BASE, thickness=8),
        line("broken", at, "100%", MIDDLE, MIDDLE, FALL, width=3),
        bar("play", bound, LINE, thickness=8),
        bar("gap", held, GAP, thickness=8),
        line("edge", at, at, 2, 22, EDGE, width=3),
    )
    return mark_safe(  # noqa: S308 (figures only)
        f'<svg class="bracket progress" width="100%" height="{SCALE_HEIGHT if scale else HEIGHT}" role="progressbar" '
        f'aria-label="Examples settled" aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}" '
        f'aria-valuetext="{done} of {total} examples settled, {survivors} still standing" '
        f'overflow="visible">{"".join(marks)}</svg>'
    )
