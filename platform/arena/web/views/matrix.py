"""The matrix of a challenge, and one cell of it."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from arena.accounts.access import is_member
from arena.challenges.access import get_challenge, require_unsealed, sealed
from arena.leaderboards.matrix import matrix as matrix_of
from arena.matrix import queries
from arena.matrix.models import Cell
from arena.web.figures import Words
from arena.web.gallery import gallery
from arena.web.heat import heat_cells, sorted_columns, sorted_rows
from arena.web.views.pages import picture_of, respond


@require_safe
@gzip_page
def matrix(request: HttpRequest, slug: str) -> HttpResponse:
    """Every attack against every standing defense. ?by=: an attack's or a defense's id, to sort by."""
    challenge = get_challenge(request.user, slug)
    found = matrix_of(challenge)
    by = request.GET.get("by", "")
    rows, columns = list(range(len(found.rows))), list(range(len(found.columns)))
    for place, column in enumerate(found.columns):
        if column.public_id == by:
            rows = sorted_rows(found.squares, place)
    for place, row in enumerate(found.rows):
        if row.submission_id == by:
            columns = sorted_columns(found.squares[place])
    context = {
        "challenge": challenge,
        "words": Words.of(challenge.spec),
        "by": by,
        "matrix": found,
        "columns": [found.columns[place] for place in columns],
        "rows": [(found.rows[row], heat_cells([found.squares[row][place] for place in columns])) for row in rows],
    }
    return respond(request, "web/challenges/matrix.html", context, partial="matrix")


def _cell(request: HttpRequest, public_id: str) -> Cell:
    found = queries.cell(public_id)
    if found is None or not (found.challenge.published or request.user.is_staff):
        raise Http404("There is no such cell.")
    return found


@cache_control(public=True, max_age=3600)
@require_safe
def picture(request: HttpRequest, public_id: str, example: int, kind: str) -> HttpResponse:
    """One picture of one adversarial input of a cell: the original, what broke the defense, or their difference."""
    found = _cell(request, public_id)
    require_unsealed(request.user, found.challenge)
    return picture_of(gallery(found, found.challenge.spec), example, kind)


@require_safe
def cell(request: HttpRequest, public_id: str) -> HttpResponse:
    """One attack against one defense. Only the team whose entry failed sees what it said."""
    found = _cell(request, public_id)
    failed = found.defense if found.state == Cell.State.DEFENSE_FAILED else found.attack
    owner = is_member(request.user, failed.team)
    fall = getattr(found, "fall", None)
    hidden = sealed(request.user, found.challenge)
    context = {
        "cell": found,
        "challenge": found.challenge,
        "left": queries.share_left(found),
        "fall": fall,
        "owner": owner,
        "pictures": [] if hidden else gallery(found, found.challenge.spec),
        "sealed": found.challenge.season.sealed_until if hidden and found.archive is not None else None,
    }
    return respond(request, "web/challenges/cell.html", context)
