"""Reads about challenges."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import QuerySet

from arena.challenges.models import Challenge


class Revision(NamedTuple):
    """How often a board changed so far, and whether everybody may see it."""

    number: int
    published: bool


def published() -> QuerySet[Challenge]:
    """Every published challenge."""
    return Challenge.objects.filter(published=True)


def every_revision() -> dict[int, Revision]:
    """Challenge id -> revision of its board, for all challenges: what one process's live streams share."""
    rows = Challenge.objects.values_list("pk", "revision", "published")
    return {pk: Revision(number, published) for pk, number, published in rows}
