"""Reads about challenges."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from arena.challenges.models import Challenge


def published() -> QuerySet[Challenge]:
    """Every published challenge."""
    return Challenge.objects.filter(published=True)


def entry_counts() -> dict[int, int]:
    """Challenge id -> number of defenses that stand (not withdrawn), in one query."""
    standing = Q(submissions__withdrawn=None, submissions__kind="defense")
    return dict(published().annotate(entries=Count("submissions", filter=standing)).values_list("pk", "entries"))


def revisions(challenge_ids: list[int]) -> dict[int, int]:
    """Challenge id -> revision of its board, in one small query: what the live stream polls."""
    return dict(Challenge.objects.filter(pk__in=challenge_ids).values_list("pk", "revision"))


def every_revision() -> dict[int, int]:
    """Challenge id -> revision of its board, for all challenges: what one process's live streams share."""
    return dict(Challenge.objects.values_list("pk", "revision"))
