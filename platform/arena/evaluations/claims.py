"""Who works on which shard: claims by conditional UPDATE, leases, and fencing of workers that come late.

Every write of a worker names the claim it was given. The row count tells whether it still holds; a worker whose lease
was returned and taken by another changes nothing any more. Conditions name columns of the shard itself only, never a
join: PostgreSQL re-checks those against the newest row when two updates meet.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from arena.challenges.services import bump
from arena.evaluations import outcomes
from arena.evaluations.models import Evaluation, Shard
from evaluator.report import Outcome, PlatformFailed, Progress

logger = logging.getLogger(__name__)
_CANDIDATES = 16


@dataclass(frozen=True)
class Lease:
    """The right to work on a shard. number: how many times the shard had been claimed, this claim included."""

    shard_id: int
    evaluation_id: int
    challenge_id: int
    owner: str
    number: int


def claim(*, owner: str, shard_id: int | None = None) -> Lease | None:
    """Claims the waiting shard that is first in line, or only `shard_id`; None when there is none to be had.

    The oldest evaluation comes first, and its shards in order.
    """
    now = timezone.now()
    waiting = Shard.objects.filter(
        state=Shard.State.QUEUED, not_before__lte=now, evaluation__state__in=Evaluation.UNFINISHED
    ).order_by("evaluation__created", "evaluation_id", "index")
    if shard_id is not None:
        waiting = waiting.filter(pk=shard_id)
    columns = ("pk", "evaluation_id", "evaluation__submission__challenge_id", "claims")
    for pk, evaluation_id, challenge_id, claims in waiting.values_list(*columns)[:_CANDIDATES]:
        lease = Lease(pk, evaluation_id, challenge_id, owner, claims + 1)
        if _take(lease, now):
            return lease
    return None


def _take(lease: Lease, now: datetime) -> bool:
    """One try for one shard; False when another worker was faster."""
    with transaction.atomic():
        taken = Shard.objects.filter(pk=lease.shard_id, state=Shard.State.QUEUED, claims=lease.number - 1).update(
            state=Shard.State.CLAIMED,
            claims=lease.number,
            lease_owner=lease.owner,
            lease_until=now + _lease_time(),
            progress=None,
            log="",
        )
        if not taken:
            return False
        Evaluation.objects.filter(pk=lease.evaluation_id, state=Evaluation.State.QUEUED).update(
            state=Evaluation.State.RUNNING, started=Coalesce("started", now)
        )
        bump(lease.challenge_id)
    return True


def renew(lease: Lease) -> bool:
    """The heartbeat; False when the lease is lost."""
    return _held(lease).update(lease_until=timezone.now() + _lease_time()) > 0


def wanted(lease: Lease) -> bool:
    """Whether the evaluation still waits for this shard (it does not once it was cancelled or has failed)."""
    return Evaluation.objects.filter(pk=lease.evaluation_id, state__in=Evaluation.UNFINISHED).exists()


def write_progress(lease: Lease, progress: Progress | None, log: str) -> bool:
    """Shows how far the shard is; a heartbeat too. False when the lease is lost."""
    shown = asdict(progress) if progress else None
    with transaction.atomic():
        held = _held(lease).update(progress=shown, log=log, lease_until=timezone.now() + _lease_time())
        if held:
            bump(lease.challenge_id)
    return held > 0


def finish(lease: Lease, outcome: Outcome, *, log: str) -> bool:
    """Stores the shard's outcome; False, and nothing stored, when the lease is lost."""
    return _leave(lease, state=Shard.State.DONE, outcome=outcomes.dump(outcome), log=log)


def give_back(lease: Lease) -> bool:
    """Returns the shard undone, for another worker to take at once."""
    return _leave(lease, state=Shard.State.QUEUED, progress=None, hinted=None)


def retry_later(lease: Lease, failure: PlatformFailed, *, log: str) -> bool:
    """Returns the shard after a failure of the platform, to be tried again after 1, 4, 16 ... times the retry time.

    The last attempt's failure is stored as its outcome instead. False when the lease is lost.
    """
    attempts = Shard.objects.values_list("attempts", flat=True).get(pk=lease.shard_id) + 1
    logger.warning("shard %d failed by the platform's fault (attempt %d): %s", lease.shard_id, attempts, failure)
    if attempts >= settings.REDOUBT_MAX_ATTEMPTS:
        return _leave(lease, state=Shard.State.DONE, attempts=attempts, outcome=outcomes.dump(failure), log=log)
    wait = timedelta(seconds=settings.REDOUBT_RETRY_SECONDS * 4 ** (attempts - 1))
    return _leave(
        lease,
        state=Shard.State.QUEUED,
        attempts=attempts,
        progress=None,
        hinted=None,
        not_before=timezone.now() + wait,
    )


def reap() -> int:
    """Returns the shards of workers that stopped renewing; how many they were.

    A shard that was claimed many times without ever ending is taken to kill its workers and fails.
    """
    now = timezone.now()
    expired = Shard.objects.filter(state=Shard.State.CLAIMED, lease_until__lt=now)
    hopeless = PlatformFailed("lost", f"Its worker died {settings.REDOUBT_MAX_CLAIMS} times.")
    reaped = expired.filter(claims__gte=settings.REDOUBT_MAX_CLAIMS).update(
        state=Shard.State.DONE, outcome=outcomes.dump(hopeless), lease_owner="", lease_until=None
    )
    reaped += expired.update(state=Shard.State.QUEUED, lease_owner="", lease_until=None, progress=None, hinted=None)
    if reaped:
        logger.warning("returned %d shards whose worker stopped answering", reaped)
    return reaped


def _held(lease: Lease) -> QuerySet[Shard]:
    return Shard.objects.filter(pk=lease.shard_id, state=Shard.State.CLAIMED, lease_owner=lease.owner, claims=lease.number)


def _leave(lease: Lease, **values: Any) -> bool:
    return _held(lease).update(lease_owner="", lease_until=None, **values) > 0


def _lease_time() -> timedelta:
    return timedelta(seconds=settings.REDOUBT_LEASE_SECONDS)
