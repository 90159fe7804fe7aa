"""What boards remember when a defense has its verdict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.dispatch import receiver

from arena.evaluations.models import Evaluation
from arena.leaderboards.services import record_certificate, record_standing
from arena.matrix.events import opened
from evaluator.records.report import Report


@receiver(opened)
def remember(evaluation: Evaluation, report: Report, robust_accuracy: float, at: datetime, **_: Any) -> None:
    """The defense enters the history, with what was proven of it."""
    record_standing(evaluation=evaluation, robust_accuracy=robust_accuracy, at=at)
    record_certificate(evaluation=evaluation, record=report.certificate)
