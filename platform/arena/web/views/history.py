"""How the robust accuracy of a challenge's defenses fell."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from arena.challenges.access import get_challenge
from arena.leaderboards.queries import board, histories
from arena.matrix import queries
from arena.web.figures import Words
from arena.web.views.pages import respond

SHOWN = 25  # falls listed; every one stands on its defense's own drawing


@require_safe
@gzip_page
def history(request: HttpRequest, slug: str) -> HttpResponse:
    """Every defense's steps, labelled with the attack that caused each, and the newest falls."""
    challenge = get_challenge(request.user, slug)
    events, standing = histories(challenge), board(challenge)
    steps = [(row, events.get(row.submission_id, [])) for row in (*standing.ranked, *standing.unverified)]
    falls = [
        (fall, fall.fallen / fall.examples, fall.after / fall.examples) for fall in queries.falls_of(challenge, last=SHOWN)
    ]
    context = {
        "challenge": challenge,
        "words": Words.of(challenge.spec),
        "lines": [(row, shown) for row, shown in steps if len(shown) > 1],
        "unmoved": [row for row, shown in steps if len(shown) < 2 and row.robust_accuracy],  # of 0 % nothing can fall
        "falls": falls,
    }
    return respond(request, "web/challenges/history.html", context, partial="history")
