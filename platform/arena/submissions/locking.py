"""One thing after the other."""

from __future__ import annotations

from arena.submissions.models import Submission


def lock(submission_id: int) -> None:
    """Makes verdicts and falls of one defense happen one after the other, until the transaction ends."""
    Submission.objects.select_for_update().get(pk=submission_id)
