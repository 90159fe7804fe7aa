"""Teams: the list, a team's page, making one and adding members."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from arena.accounts import services
from arena.accounts.access import get_own_team, get_team, is_member
from arena.accounts.models import User
from arena.accounts.queries import with_counts
from arena.evaluations.entries import Entry, with_evaluations
from arena.matrix.queries import with_looks
from arena.submissions.models import Submission
from arena.submissions.queries import of_team
from arena.web.forms import MemberForm, TeamForm, blame
from arena.web.views.pages import respond
from evaluator.errors import RedoubtError


@require_http_methods(["GET", "HEAD", "POST"])
def teams(request: HttpRequest) -> HttpResponse:
    """Every team that entered something; a form to make one for those who are logged in."""
    form = TeamForm(request.POST or None)
    if request.method == "POST" and isinstance(request.user, User) and form.is_valid():
        try:
            team = services.make_team(user=request.user, **form.cleaned_data)
            return redirect("web:team", team.slug)
        except RedoubtError as error:
            blame(form, error)
    return respond(request, "web/teams/teams.html", {"teams": with_counts(), "form": form})


@require_http_methods(["GET", "HEAD"])
def team(request: HttpRequest, slug: str) -> HttpResponse:
    """A team's entries; its members may add members."""
    found = get_team(slug)
    shown = of_team(found).filter(withdrawn=None, challenge__published=True)
    entries = with_evaluations(with_looks(shown)[:200])
    may_add = not found.personal and is_member(request.user, found)
    context = {"team": found, "lists": _by_kind(entries), "members": found.members.order_by("username"), "may_add": may_add}
    return respond(request, "web/teams/team.html", context | {"form": MemberForm()})


def _by_kind(entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
    """Defenses, and attacks where there are any."""
    attacks = [entry for entry in entries if entry.submission.kind == Submission.Kind.ATTACK]
    defenses = [entry for entry in entries if entry.submission.kind == Submission.Kind.DEFENSE]
    return [(title, some) for title, some in (("Defenses", defenses), ("Attacks", attacks)) if some or not entries]


@require_http_methods(["POST"])
@login_required
def add_member(request: HttpRequest, slug: str) -> HttpResponse:
    """Adds a person to one's own team."""
    assert isinstance(request.user, User)
    own = get_own_team(request.user, slug)
    try:
        user = services.add_member(team=own, by=request.user, username=request.POST.get("username", ""))
        messages.success(request, f"{user.username} is now a member.", extra_tags="ok")
    except RedoubtError as error:
        messages.error(request, f"{error.what} {error.help}", extra_tags="bad")
    return redirect("web:team", own.slug)
