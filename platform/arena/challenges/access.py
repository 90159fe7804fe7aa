"""The only way to fetch a challenge: unpublished ones exist for staff only, and so do single verdicts while a phase is open."""

from __future__ import annotations

from django.http import Http404

from arena.accounts.access import Person
from arena.challenges.models import Challenge
from arena.challenges.phases import check_unsealed


def get_challenge(person: Person, slug: str) -> Challenge:
    """The challenge of that slug. Raises Http404."""
    challenge = Challenge.objects.filter(slug=slug).first()
    if challenge is None or not (challenge.published or person.is_staff):
        raise Http404("There is no such challenge.")
    return challenge


def sealed(person: Person, challenge: Challenge) -> bool:
    """Whether verdicts of single examples are kept from this person: from all but staff, while a phase is open."""
    return not person.is_staff and challenge.season.sealed_until is not None


def require_unsealed(person: Person, challenge: Challenge) -> None:
    """Raises PermissionDenied, with the date, where `sealed`."""
    if not person.is_staff:
        check_unsealed(challenge.season)
