"""What the drawings share: the light theme's colours and how figures become coordinates and words."""

from __future__ import annotations

BASE = "#f3f0ea"
PROOF = "#0f766e"
GAP = "#b3d6d1"
EDGE = "#1d4ed8"
FALL = "#b42318"
MUTED = "#585f6b"
LINE = "#e3e0da"
INK = "#1b1d22"
WHITE = "#ffffff"


def along(share: float) -> str:
    """The coordinate of a share in [0, 1] as a percentage of the drawing's width; shares outside are clamped."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def percent(share: float) -> str:
    """A share in [0, 1] as the boards write it: one decimal, never rounded up to 100.0 or down to 0.0 by writing alone."""
    figure = 100 * share
    if 99.95 <= figure < 100:
        return "> 99.9"
    if 0 < figure < 0.05:
        return "< 0.1"
    return f"{figure:.1f}"
