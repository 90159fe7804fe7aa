"""Queueing and cancelling trials."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models.functions import Now

from arena.challenges.services import bump
from arena.jobs.models import Shard, Trial


def cut(trial: Trial, *, examples: int, step: int) -> None:
    """Makes a new trial's shards, of at most `step` examples each. Call in the transaction that makes the trial."""
    Shard.objects.bulk_create(
        Shard(trial=trial, index=index, start=start, stop=min(start + step, examples))
        for index, start in enumerate(range(0, examples, step))
    )


def cancel(trials: Iterable[Trial], *, state: Trial.State = Trial.State.CANCELLED, reason: str = "", detail: str = "") -> int:
    """Ends those of the trials that wait or run; workers notice within a heartbeat. How many they were."""
    with transaction.atomic():
        asked = {trial.key: trial.challenge_id for trial in trials}
        unfinished = Trial.objects.filter(pk__in=asked, state__in=Trial.UNFINISHED)
        cancelled = unfinished.update(state=state, reason=reason, detail=detail, finished=Now())
        for challenge_id in sorted(set(asked.values())) if cancelled else ():
            bump(challenge_id)
    return cancelled


def prioritise(trials: Iterable[Trial], *, priority: int) -> None:
    """Moves trials within their team's line. priority: lower is sooner."""
    Trial.objects.filter(pk__in=[trial.key for trial in trials]).update(priority=priority)
