"""What boards remember of each completed evaluation."""

from __future__ import annotations

from datetime import datetime

from arena.evaluations.models import Evaluation
from arena.leaderboards.models import Standing


def record_standing(*, evaluation: Evaluation, robust_accuracy: float, at: datetime) -> Standing:
    """Writes the event of a completed evaluation; writing it twice leaves one."""
    submission = evaluation.submission
    earlier = Standing.objects.filter(submission=submission).exclude(evaluation=evaluation).exists()
    standing, _ = Standing.objects.get_or_create(
        evaluation=evaluation,
        defaults={
            "challenge": submission.challenge,
            "submission": submission,
            "robust_accuracy": robust_accuracy,
            "at": at,
            "cause": Standing.Cause.REEVALUATED if earlier else Standing.Cause.ENTERED,
        },
    )
    return standing
