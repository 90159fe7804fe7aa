"""Reads about submissions."""

from __future__ import annotations

from django.db.models import QuerySet

from arena.accounts.models import Team, User
from arena.challenges.models import Challenge
from arena.submissions.models import Submission


def of_team(team: Team) -> QuerySet[Submission]:
    """A team's submissions, newest first."""
    return Submission.objects.filter(team=team).select_related("team", "challenge", "user")


def of_user(user: User, *, challenge: Challenge | None = None) -> QuerySet[Submission]:
    """Submissions of all teams that the person belongs to, newest first."""
    found = Submission.objects.filter(team__in=user.teams.all()).select_related("team", "challenge", "user")
    return found if challenge is None else found.filter(challenge=challenge)
