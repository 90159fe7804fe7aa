"""A challenge: its board, its rules, and entering it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_http_methods, require_safe

from arena.accounts.models import User
from arena.accounts.rates import RateLimited
from arena.challenges.access import get_challenge, require_unsealed
from arena.challenges.models import Challenge
from arena.jobs.lines import FREE_SECONDS
from arena.leaderboards import queries
from arena.leaderboards.significance import significance
from arena.matrix.export_queries import bit_rows
from arena.serving.body_limit import takes_uploads
from arena.submissions.services import submit as submit_defense
from arena.web import markdown
from arena.web.board_csv import board_csv
from arena.web.board_export import TYPES, bits_parquet, board_json, board_parquet
from arena.web.board_filter import BoardFilter, choices
from arena.web.board_rows import Columns, board_rows
from arena.web.figures import Words, last_change, last_fall
from arena.web.forms import SubmitForm, blame
from arena.web.views.certified import certified_board
from arena.web.views.pages import origin, respond
from evaluator.errors import InputError


def _about(challenge: Challenge) -> dict[str, Any]:
    spec = challenge.spec
    return {"challenge": challenge, "spec": spec, "words": Words.of(spec), "published": spec.published}


@require_safe
@gzip_page
def board(request: HttpRequest, slug: str) -> HttpResponse:
    """Defenses ranked by worst-case robust accuracy, by proof, or by their errors under common corruptions."""
    challenge = get_challenge(request.user, slug)
    if challenge.spec.certified is not None:
        return certified_board(request, challenge, _about(challenge))
    whole, histories = queries.board(challenge), queries.histories(challenge)
    asked = BoardFilter.of(request.GET)
    standing = asked.apply(whole)
    falls = ((row, last_fall(histories.get(row.submission_id, []))) for row in standing.ranked)
    columns = Columns.of(challenge.spec)
    rows = board_rows(falls, significance(challenge, whole), columns)
    shown = {"board": standing, "rows": rows, "columns": columns, "changed": last_change(whole)}
    shown |= {"asked": asked, "choices": choices(whole)}
    return respond(request, "web/challenges/board.html", _about(challenge) | shown, partial="board")


@require_safe
def board_file(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """The judged entries of the board, or of the filtered board, as a file: csv, json or parquet."""
    challenge = get_challenge(request.user, slug)
    standing = BoardFilter.of(request.GET).apply(queries.board(challenge))
    if kind == "csv":
        return _file(board_csv(standing), f"redoubt-{slug}.csv")
    content = board_json(standing, challenge) if kind == "json" else board_parquet(standing)
    return _file(content, f"redoubt-{slug}.{kind}")


@require_safe
def bits_file(request: HttpRequest, slug: str) -> HttpResponse:
    """Which examples each judged entry of the board, or of the filtered board, withstood by now: a Parquet file."""
    challenge = get_challenge(request.user, slug)
    require_unsealed(request.user, challenge)
    standing = BoardFilter.of(request.GET).apply(queries.board(challenge))
    judged = dict.fromkeys(row.evaluation_id for row in (*standing.ranked, *standing.plain, *standing.unverified))
    return _file(bits_parquet(bit_rows(list(judged))), f"redoubt-{slug}-bits.parquet")


def _file(content: str | bytes, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type=TYPES[name.rsplit(".", 1)[1]], headers=headers)


@require_safe
def rules(request: HttpRequest, slug: str) -> HttpResponse:
    """Threat model, data, limits, the organisers' words, and how to submit."""
    challenge = get_challenge(request.user, slug)
    readme = markdown.render(challenge.readme)
    more = {"readme": readme, "origin": origin(request), "upload_bytes": settings.REDOUBT_UPLOAD_BYTES}
    return respond(request, "web/challenges/rules.html", _about(challenge) | more)


@takes_uploads
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def submit(request: HttpRequest, slug: str) -> HttpResponse:
    """Takes an archive; on success leads to the entry's page."""
    challenge = get_challenge(request.user, slug)
    assert isinstance(request.user, User)
    form = SubmitForm(request.POST or None, request.FILES or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            entry = submit_defense(user=request.user, challenge=challenge, **form.cleaned_data)
            return redirect("web:entry", entry.public_id)
        except (InputError, RateLimited) as error:
            blame(form, error, otherwise="archive")
    asked: dict[str, Any] = {"attack": request.GET.get("kind") == "attack", "examples": challenge.spec.data.examples}
    asked["free_seconds"] = int(FREE_SECONDS)
    return respond(request, "web/challenges/submit.html", {"challenge": challenge, "form": form, **asked})
