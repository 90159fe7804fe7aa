"""What the matrix does when attacks and defenses come and go, and when a defense waits for its verdict or has it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.dispatch import receiver

from arena.challenges.models import Challenge
from arena.challenges.queries import published
from arena.evaluations.events import judged, queued
from arena.evaluations.models import Evaluation
from arena.jobs.each import each
from arena.jobs.events import swept
from arena.jobs.lines import FREE_SECONDS
from arena.matrix import services, survival, transfers
from arena.matrix.events import opened
from arena.matrix.models import FirstLook, Survival
from arena.submissions import events
from arena.submissions.models import Submission
from evaluator.records.report import Report

RECENT = timedelta(minutes=1)  # two verdicts written at the same moment do not see each other


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
    """Attacks that the first look refused within seconds, or that the platform could not look at.

    Not those that their team stopped, nor those that held a worker for longer: time is what a quota is for.
    """
    refused = FirstLook.objects.filter(state=FirstLook.State.SUBMISSION_FAILED).exclude(reason=services.WITHDRAWN)
    free = refused.exclude(shards__seconds__gt=FREE_SECONDS) | FirstLook.objects.filter(state=FirstLook.State.PLATFORM_FAILED)
    return free.values("submission")


@receiver(events.judged)
def played(**_: Any) -> QuerySet[Any]:
    """Attacks that are accepted, and those that wait for their first look."""
    return FirstLook.objects.filter(state__in=(*FirstLook.UNFINISHED, FirstLook.State.COMPLETED)).values("submission")


@receiver(queued)
def replay_first(evaluation: Evaluation, **_: Any) -> None:
    """A defense waits for its verdict: what broke others is replayed on it first."""
    transfers.greet(evaluation)


@receiver(judged)
def open_row(evaluation: Evaluation, report: Report, found: bytes, at: datetime, **_: Any) -> None:
    """A defense has its verdict: what withstood everything is what it stands at, and every attack plays it."""
    left = survival.open_survival(evaluation, report, found)
    transfers.spread(evaluation)
    opened.send(Survival, evaluation=evaluation, report=report, robust_accuracy=left, at=at)
    transaction.on_commit(lambda: services.fill(evaluation.challenge), robust=True)


@receiver(swept)
def make_missing(**_: Any) -> None:
    """Makes the cells that nobody made."""
    accepted = FirstLook.objects.filter(state=FirstLook.State.COMPLETED).values("challenge")
    each(published().filter(pk__in=accepted), services.fill)
    lately = Survival.objects.filter(evaluation__current=True, evaluation__finished__gt=Now() - RECENT)
    each(lately.select_related("evaluation"), lambda survival: transfers.spread(survival.evaluation))
