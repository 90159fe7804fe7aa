"""What the matrix does when attacks and defenses come and go."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.dispatch import receiver

from arena.challenges.models import Challenge
from arena.matrix import services
from arena.matrix.models import Trial
from arena.submissions import events
from arena.submissions.models import Submission


@receiver(events.offered)
def aim(challenge: Challenge, kind: str, manifest: dict[str, Any], **_: Any) -> None:
    """Raises InputError for an attack that no standing defense is there for."""
    if kind == Submission.Kind.ATTACK:
        services.target_of(challenge, manifest.get("target"))


@receiver(events.entered)
def look(submission: Submission, **_: Any) -> None:
    """Queues the first look at an attack."""
    if submission.kind == Submission.Kind.ATTACK:
        target = services.target_of(submission.challenge, submission.manifest.get("target"))
        services.receive(submission=submission, target=target)


@receiver(events.withdrawn)
def stop(submission: Submission, **_: Any) -> None:
    """Cancels the cells of an entry that are still to be played."""
    services.cancel_cells(submission=submission)


@receiver(events.uncounted)
def refused(**_: Any) -> QuerySet[Any]:
    """Attacks that the first look refused, or that the platform could not look at; not those that their team stopped."""
    free = Trial.objects.filter(verdict__in=(Trial.Verdict.REFUSED, Trial.Verdict.PLATFORM_FAILED))
    return free.exclude(reason=services.WITHDRAWN).values("submission")


@receiver(events.judged)
def played(**_: Any) -> QuerySet[Any]:
    """Attacks that are accepted, and those that wait for their first look."""
    return Trial.objects.filter(verdict__in=["", Trial.Verdict.ACCEPTED]).values("submission")
