"""The only way to fetch a challenge: unpublished ones exist for staff only."""

from __future__ import annotations

from django.http import Http404

from arena.accounts.access import Person
from arena.challenges.models import Challenge


def get_challenge(person: Person, slug: str) -> Challenge:
    """The challenge of that slug. Raises Http404."""
    challenge = Challenge.objects.filter(slug=slug).first()
    if challenge is None or not (challenge.published or person.is_staff):
        raise Http404("There is no such challenge.")
    return challenge
