"""A badge for a README: the robust accuracy in words and the bracket beside it, as one stand-alone SVG file."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from arena.web.svg.bracket import Bracket, bracket
from arena.web.svg.marks import INK, LINE, WHITE, percent

HEIGHT = 28
LETTER = 6.2  # px a letter at 11 px takes on average; `textLength` makes the text fit exactly
BRACKET = 120


def doubtful_badge(doubt: str, *, challenge: str) -> SafeString:
    """The badge of an entry whose figures nobody vouches for: the challenge and why, without a figure."""
    return _badge(challenge[:40], doubt, label=doubt, drawing=SafeString(""), room=0)


def badge(figures: Bracket, *, challenge: str) -> SafeString:
    """Draws the badge: challenge, robust accuracy, bracket. Its width follows from the words; it is 28 px high."""
    score = f"{percent(figures.empirical)} % robust"
    return _badge(challenge[:40], score, label=figures.label, drawing=bracket(figures), room=BRACKET + 12)


def _badge(name: str, score: str, *, label: str, drawing: SafeString, room: int) -> SafeString:
    """room: px for the drawing."""
    left, right = round(LETTER * len(name)), round(LETTER * len(score))
    dark, width = left + 16, left + 16 + right + 16 + room
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" role="img" aria-label="Redoubt, {}: {}">'
        '<rect width="{}" height="{}" rx="5" fill="{}" stroke="{}"/>'
        '<path d="M5 0h{}v{}h-{}a5 5 0 0 1-5-5v-18a5 5 0 0 1 5-5z" fill="{}"/>'
        '<g font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">'
        '<text x="8" y="18" textLength="{}" fill="{}">{}</text>'
        '<text x="{}" y="18" textLength="{}" fill="{}">{}</text></g>'
        '<svg x="{}" y="2" width="{}" height="24" overflow="visible">{}</svg></svg>',
        *(width, HEIGHT, name, label),
        *(width, HEIGHT, WHITE, LINE),
        *(dark - 5, HEIGHT, dark - 5, INK),
        *(left, WHITE, name),
        *(dark + 8, right, INK, score),
        *(dark + right + 16, BRACKET, drawing),
    )
