"""The only way to fetch a submission."""

from __future__ import annotations

from django.http import Http404

from arena.accounts.access import Person, is_member
from arena.submissions.models import Submission


def get_submission(person: Person, public_id: str) -> Submission:
    """The submission of that public id; entries are public, their archives and logs are not. Raises Http404."""
    submission = Submission.objects.select_related("team", "challenge", "user").filter(public_id=public_id).first()
    if submission is None or not (submission.challenge.published or person.is_staff):
        raise Http404("There is no such submission.")
    return submission


def get_own_submission(person: Person, public_id: str) -> Submission:
    """The same, for members of its team and staff only. Raises Http404."""
    submission = get_submission(person, public_id)
    if not is_member(person, submission.team):
        raise Http404("There is no such submission.")
    return submission
