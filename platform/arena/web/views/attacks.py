"""The attacks of a challenge, and the page of one."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from arena.accounts.access import is_member
from arena.challenges.access import get_challenge
from arena.jobs.lines import FREE_SECONDS
from arena.leaderboards.attacks import attack_board
from arena.matrix import queries
from arena.matrix.models import FirstLook
from arena.submissions.models import Submission
from arena.web.figures import Words
from arena.web.views.pages import respond


@require_safe
@gzip_page
def attacks(request: HttpRequest, slug: str) -> HttpResponse:
    """Attacks ranked by what they leave standing."""
    challenge = get_challenge(request.user, slug)
    context = {
        "challenge": challenge,
        "words": Words.of(challenge.spec),
        "attacks": attack_board(challenge),
        "by_area": challenge.spec.goal.kind == "minimal-norm",
    }
    return respond(request, "web/challenges/attacks.html", context, partial="attacks")


def attack_page(request: HttpRequest, submission: Submission) -> HttpResponse:
    """What the first look found, and every defense it plays. Raises Http404."""
    try:
        look = queries.look_at(submission)
    except FirstLook.DoesNotExist as error:
        raise Http404("This attack was never looked at.") from error
    board = attack_board(submission.challenge) if look.verdict == FirstLook.Verdict.ACCEPTED else []
    cells = [(cell, queries.share_left(cell), getattr(cell, "fall", None)) for cell in queries.cells_of(submission)]
    context = {
        "submission": submission,
        "challenge": submission.challenge,
        "look": look,
        "cells": cells,
        "row": next((row for row in board if row.attack.pk == submission.pk), None),
        "ranked": sum(row.rank is not None for row in board),
        "charged": look.verdict == FirstLook.Verdict.REFUSED and look.shards.filter(seconds__gt=FREE_SECONDS).exists(),
        "owner": is_member(request.user, submission.team),
    }
    return respond(request, "web/entries/attack.html", context, partial="attack")
