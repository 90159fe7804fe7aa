"""The front page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from arena.challenges.queries import published
from arena.leaderboards.overviews import overviews
from arena.web.figures import Words
from arena.web.views.pages import respond


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Every published challenge with a miniature of its board."""
    challenges = list(published())
    boards = [(overview, Words.of(overview.challenge.spec)) for overview in overviews(challenges)]
    context = {"boards": boards, "revision": sum(challenge.revision for challenge in challenges)}
    return respond(request, "web/home.html", context, partial="boards")


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look by themselves when a file, and no page, is open."""
    return redirect(static("web/favicon.svg"))
