"""The only way to fetch a team: what the person may not use does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import Http404

from arena.accounts.models import Team, User

Person = User | AnonymousUser


def get_own_team(person: Person, slug: str | None = None) -> Team:
    """The person's team of that slug, or the personal one without a slug. Raises Http404."""
    if not isinstance(person, User):
        raise Http404("There is no such team.")
    wanted = Q(slug=slug) if slug else Q(personal=True)
    team = Team.objects.filter(wanted, members=person).first()
    if team is None:
        raise Http404("There is no such team, or you are not a member of it.")
    return team


def get_team(slug: str) -> Team:
    """A team by its slug, for its public page. Raises Http404."""
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        raise Http404("There is no such team.")
    return team


def own_teams(person: Person, teams: Iterable[int]) -> set[int]:
    """Those of the teams (by id) that the person belongs to, in one query; staff belong to every team."""
    if not isinstance(person, User):
        return set()
    return set(teams) if person.is_staff else set(person.teams.filter(pk__in=set(teams)).values_list("pk", flat=True))


def is_member(person: Person, team: Team) -> bool:
    """Whether the person belongs to the team; staff belong to every team."""
    return isinstance(person, User) and (person.is_staff or team.members.filter(pk=person.pk).exists())
