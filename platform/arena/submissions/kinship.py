"""Which teams are one party: what one of them knows of its defense, the other may know, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arena.accounts.models import Team
from arena.submissions.models import Submission


@dataclass(frozen=True)
class Kinship:
    """people: team -> everybody who ever acted for it."""

    people: Mapping[int, frozenset[int]]

    def related(self, one: int, other: int) -> bool:
        """Whether two teams are one, or somebody acted for both."""
        return one == other or bool(self.people.get(one, frozenset()) & self.people.get(other, frozenset()))


def kinship(teams: Iterable[int]) -> Kinship:
    """What is known of these teams, in two queries.

    Somebody acted for a team who made it or entered anything for it, in any challenge, and however long ago: leaving a team
    makes nobody a stranger. Mere membership counts for nothing, since anybody can be made a member without being asked.
    """
    wanted = set(teams)
    people: dict[int, set[int]] = {}
    for team, user in Team.members.through.objects.filter(team__in=wanted).order_by("pk").values_list("team_id", "user_id"):
        people.setdefault(team, {user})  # the first member made the team
    entered = Submission.objects.filter(team__in=wanted).exclude(user=None).order_by().values_list("team_id", "user_id")
    for team, user in entered.distinct():
        people.setdefault(team, set()).add(user)
    return Kinship({team: frozenset(members) for team, members in people.items()})
