"""A certified challenge's board: ranked by what is proven."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from arena.challenges.models import Challenge
from arena.leaderboards import queries
from arena.web.board_filter import BoardFilter, choices
from arena.web.certified import proof_figure
from arena.web.figures import last_change
from arena.web.views.pages import respond


def certified_board(request: HttpRequest, challenge: Challenge, about: dict[str, Any]) -> HttpResponse:
    """Classifiers by certified accuracy at the threat's epsilon, with a column for each radius; about: of the challenge."""
    spec = challenge.spec
    assert spec.certified is not None
    whole = queries.board(challenge)
    asked = BoardFilter.of(request.GET)
    shown = {
        "board": asked.apply(whole),
        "changed": last_change(whole),
        "asked": asked,
        "choices": choices(whole),
        "radii": spec.certified.radii,
        "epsilon": getattr(spec.threat, "epsilon", None),
        "alpha": spec.certified.alpha,
        "norm": spec.threat.norm,
        "columns": 5 + len(spec.certified.radii),
        "figure": proof_figure(whole, spec.certified, spec.threat.norm),
    }
    return respond(request, "web/challenges/certified_board.html", about | shown, partial="board")
