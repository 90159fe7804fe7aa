"""Entries with their evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.evaluations.queries import summaries
from arena.submissions.models import Submission


@dataclass(frozen=True)
class Entry:
    """A submission with the evaluation that stands for it."""

    submission: Submission
    evaluation: Evaluation | None


def with_evaluations(submissions: Iterable[Submission]) -> list[Entry]:
    """Each submission with its current evaluation (report deferred), in one more query however many there are."""
    rows = list(submissions)
    current = {
        item.submission_id: item for item in summaries().filter(submission__in=rows, current=True).select_related("submission")
    }
    return [Entry(submission=row, evaluation=current.get(row.pk)) for row in rows]


def measured_under_other_rules(challenge: Challenge) -> QuerySet[Submission]:
    """Standing entries whose completed result does not rank, because the challenge's rules changed since."""
    completed = Evaluation.objects.filter(submission=OuterRef("pk"), current=True, state=Evaluation.State.COMPLETED).exclude(
        rules_digest=challenge.rules_digest
    )
    return Submission.objects.filter(Exists(completed), challenge=challenge, withdrawn=None).select_related("challenge")
