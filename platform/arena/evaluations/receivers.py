"""What evaluations do when entries come and go, and when rules change."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.dispatch import receiver

from arena.challenges.events import rules_changed
from arena.challenges.models import Challenge
from arena.evaluations.entries import measured_under_other_rules
from arena.evaluations.models import Evaluation
from arena.evaluations.services import cancel, enqueue
from arena.submissions import events
from arena.submissions.models import Submission


@receiver(events.entered)
def judge(submission: Submission, **_: Any) -> None:
    """Queues the evaluation of a defense."""
    if submission.kind == Submission.Kind.DEFENSE:
        enqueue(submission=submission)


@receiver(events.withdrawn)
def stop(submission: Submission, **_: Any) -> None:
    """Cancels what is still to be evaluated."""
    for evaluation in submission.evaluations.filter(state__in=Evaluation.UNFINISHED):
        cancel(evaluation=evaluation)


@receiver(events.uncounted)
def failed_by_us(**_: Any) -> QuerySet[Any]:
    """Entries that the platform could not judge."""
    ours = Evaluation.objects.filter(current=True, state=Evaluation.State.PLATFORM_FAILED)
    return ours.values("submission")


@receiver(events.judged)
def evaluated(**_: Any) -> QuerySet[Any]:
    """Entries with a verdict, and those that wait for one."""
    judged = (*Evaluation.UNFINISHED, Evaluation.State.COMPLETED)
    return Evaluation.objects.filter(current=True, state__in=judged).values("submission")


@receiver(rules_changed)
def judge_again(challenge: Challenge, again: bool, **_: Any) -> int:
    """How many results were measured under earlier rules; they are queued again where that is wanted."""
    entries = list(measured_under_other_rules(challenge))
    if again:
        for submission in entries:
            enqueue(submission=submission)
    return len(entries)
