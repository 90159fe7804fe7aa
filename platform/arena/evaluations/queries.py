"""Reads about evaluations."""

from __future__ import annotations

from django.db.models import QuerySet

from arena.evaluations.models import Evaluation
from arena.submissions.models import Submission


def summaries() -> QuerySet[Evaluation]:
    """Evaluations with everything but the report, which is large."""
    return Evaluation.objects.defer("report")


def current_of(submission: Submission) -> Evaluation:
    """The evaluation that stands for a submission. Raises Evaluation.DoesNotExist for an entry never evaluated."""
    return Evaluation.objects.select_related("submission__team", "submission__challenge").get(
        submission=submission, current=True
    )
