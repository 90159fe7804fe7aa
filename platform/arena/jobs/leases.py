"""Shards are leased row by row: by conditional UPDATE, heartbeats, and fencing of workers that come late.

Every write of a worker names the lease it was given. The row count tells whether it still holds; a worker whose lease
was returned and taken by another changes nothing any more. Times are the database's: what a worker's own clock says, which
may be an hour off, decides nothing. Conditions name columns of the shard itself only, never a
join: PostgreSQL re-checks those against the newest row when two updates meet.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from arena.challenges.services import bump
from arena.jobs import outcomes
from arena.jobs.models import Shard, Trial
from evaluator.records.report import PlatformFailed, Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """The right to work on a shard. number: how many times it had been leased, this lease included."""

    shard_id: int
    trial_id: int
    challenge_id: int
    judge: str
    owner: str
    number: int

    def wanted(self) -> bool:
        """Whether anybody still waits for this shard (nobody does once its trial was cancelled or has failed)."""
        return Trial.objects.filter(pk=self.trial_id, state__in=Trial.UNFINISHED).exists()

    def __str__(self) -> str:
        return f"shard {self.shard_id} ({self.judge})"


def take(lease: Lease) -> bool:
    """One try for one shard; False when another worker was faster."""
    waiting = Shard.objects.filter(pk=lease.shard_id, state=Shard.State.QUEUED, lease_number=lease.number - 1)
    return (
        waiting.update(
            state=Shard.State.LEASED,
            lease_number=lease.number,
            lease_owner=lease.owner,
            lease_until=Now() + _lease_time(),
            progress=None,
            log="",
        )
        > 0
    )


def renew(lease: Lease) -> bool:
    """The heartbeat; False when the lease is lost."""
    return _held(lease).update(lease_until=Now() + _lease_time()) > 0


def write_progress(lease: Lease, progress: Progress | None, log: str) -> bool:
    """Shows how far the shard is; a heartbeat too. False when the lease is lost."""
    shown = asdict(progress) if progress else None
    with transaction.atomic():
        held = _held(lease).update(progress=shown, log=log, lease_until=Now() + _lease_time())
        if held:
            bump(lease.challenge_id)
    return held > 0


def finish(lease: Lease, outcome: dict[str, Any], *, log: str, inputs: bytes | None = None, seconds: float = 0.0) -> bool:
    """Stores the shard's outcome; False, and nothing stored, when the lease is lost."""
    return _leave(
        lease, state=Shard.State.DONE, outcome=outcome, log=log, inputs=inputs, seconds=seconds, finished=Now()
    )  # fmt: skip


def give_back(lease: Lease) -> bool:
    """Returns the shard undone, for another worker to take at once."""
    return _leave(lease, state=Shard.State.QUEUED, progress=None)


def retry_later(lease: Lease, failure: PlatformFailed, *, log: str) -> bool:
    """Returns the shard after a failure of the platform, to be tried again after 1, 4, 16 ... times the retry time.

    The last attempt's failure is stored as its outcome instead. False when the lease is lost.
    """
    attempts = Shard.objects.values_list("attempts", flat=True).get(pk=lease.shard_id) + 1
    logger.warning("%s failed by the platform's fault (attempt %d): %s", lease, attempts, failure)
    if attempts >= settings.REDOUBT_MAX_ATTEMPTS:
        return _leave(lease, state=Shard.State.DONE, attempts=attempts, outcome=outcomes.dump(failure), log=log)
    wait = timedelta(seconds=settings.REDOUBT_RETRY_SECONDS * 4 ** (attempts - 1))
    return _leave(lease, state=Shard.State.QUEUED, attempts=attempts, progress=None, not_before=Now() + wait)


def give_back_later(lease: Lease, *, seconds: float) -> bool:
    """Returns the shard undone after a failure that was not its own: no attempt is spent, other shards go first."""
    if lease.number >= settings.REDOUBT_MAX_LEASES:
        hopeless = PlatformFailed("lost", f"The platform failed at it {lease.number} times.")
        return _leave(lease, state=Shard.State.DONE, outcome=outcomes.dump(hopeless))
    return _leave(lease, state=Shard.State.QUEUED, progress=None, not_before=Now() + timedelta(seconds=seconds))


def refund(shard_id: int) -> bool:
    """Takes back an attempt that was spent on this shard, once its failure turned out to be the machine's."""
    unfinished = Shard.objects.filter(pk=shard_id, attempts__gt=0).exclude(state=Shard.State.DONE)
    return unfinished.update(attempts=F("attempts") - 1) > 0


def return_expired() -> int:
    """Returns the shards of workers that stopped renewing; how many they were.

    A shard that was leased many times without ever ending is taken to kill its workers and fails.
    """
    expired = Shard.objects.filter(state=Shard.State.LEASED, lease_until__lt=Now())
    hopeless = PlatformFailed("lost", f"Its worker died {settings.REDOUBT_MAX_LEASES} times.")
    returned = expired.filter(lease_number__gte=settings.REDOUBT_MAX_LEASES).update(
        state=Shard.State.DONE, outcome=outcomes.dump(hopeless), lease_owner="", lease_until=None
    )
    returned += expired.update(state=Shard.State.QUEUED, lease_owner="", lease_until=None, progress=None)
    if returned:
        logger.warning("returned %d shards whose worker stopped answering", returned)
    return returned


def _held(lease: Lease) -> QuerySet[Shard]:
    held = {"state": Shard.State.LEASED, "lease_owner": lease.owner, "lease_number": lease.number}
    return Shard.objects.filter(pk=lease.shard_id, **held)


def _leave(lease: Lease, **values: Any) -> bool:
    return _held(lease).update(lease_owner="", lease_until=None, **values) > 0


def _lease_time() -> timedelta:
    return timedelta(seconds=settings.REDOUBT_LEASE_SECONDS)
