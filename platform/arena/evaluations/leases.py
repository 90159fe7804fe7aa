"""Work that is claimed row by row: leases by conditional UPDATE, heartbeats, and fencing of workers that come late.

Every write of a worker names the claim it was given. The row count tells whether it still holds; a worker whose lease
was returned and taken by another changes nothing any more. Times are the database's: what a worker's own clock says, which
may be an hour off, decides nothing. Conditions name columns of the task itself only, never a
join: PostgreSQL re-checks those against the newest row when two updates meet.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from arena.challenges.services import bump
from arena.running import outcomes
from evaluator.records.report import PlatformFailed, Progress

logger = logging.getLogger(__name__)


def now() -> datetime:
    """This process's clock: for what people read, never for what several machines must agree on."""
    return timezone.now()


def database_now() -> datetime:
    """The database's clock, for times that are compared with those of other machines."""
    if connection.vendor == "sqlite":  # the clock of this very machine, and of no other
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("select statement_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


class Leased(models.Model):
    """A task that one worker at a time may hold.

    claims: goes up with every claim and fences late workers. attempts: failures of the platform so far that were this task's,
    not those of a machine that can do nothing right now.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        CLAIMED = "claimed"
        DONE = "done"

    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    not_before = models.DateTimeField(db_default=Now())
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    claims = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    progress = models.JSONField(null=True, blank=True)
    outcome = models.JSONField(null=True, blank=True)
    log = models.TextField(blank=True)

    class Meta:
        abstract = True


@dataclass(frozen=True)
class Lease(ABC):
    """The right to work on a task. number: how many times it had been claimed, this claim included."""

    table: ClassVar[type[Leased]]

    task_id: int
    challenge_id: int
    owner: str
    number: int

    @abstractmethod
    def entries(self) -> frozenset[int]:
        """The submissions that the task is about, any of which may be why it fails."""

    @abstractmethod
    def wanted(self) -> bool:
        """Whether anybody still waits for this task (nobody does once its job was cancelled or has failed)."""

    def __str__(self) -> str:
        return f"{self.table.__name__.lower()} {self.task_id}"


def take(lease: Lease) -> bool:
    """One try for one task; False when another worker was faster."""
    waiting = lease.table._default_manager.filter(pk=lease.task_id, state=Leased.State.QUEUED, claims=lease.number - 1)
    return (
        waiting.update(
            state=Leased.State.CLAIMED,
            claims=lease.number,
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
    """Shows how far the task is; a heartbeat too. False when the lease is lost."""
    shown = asdict(progress) if progress else None
    with transaction.atomic():
        held = _held(lease).update(progress=shown, log=log, lease_until=Now() + _lease_time())
        if held:
            bump(lease.challenge_id)
    return held > 0


def finish(lease: Lease, outcome: dict[str, Any], *, log: str, **values: Any) -> bool:
    """Stores the task's outcome; False, and nothing stored, when the lease is lost."""
    return _leave(lease, state=Leased.State.DONE, outcome=outcome, log=log, **values)


def give_back(lease: Lease) -> bool:
    """Returns the task undone, for another worker to take at once."""
    return _leave(lease, state=Leased.State.QUEUED, progress=None)


def retry_later(lease: Lease, failure: PlatformFailed, *, log: str) -> bool:
    """Returns the task after a failure of the platform, to be tried again after 1, 4, 16 ... times the retry time.

    The last attempt's failure is stored as its outcome instead. False when the lease is lost.
    """
    attempts = lease.table._default_manager.values_list("attempts", flat=True).get(pk=lease.task_id) + 1
    logger.warning("%s failed by the platform's fault (attempt %d): %s", lease, attempts, failure)
    if attempts >= settings.REDOUBT_MAX_ATTEMPTS:
        return _leave(lease, state=Leased.State.DONE, attempts=attempts, outcome=outcomes.dump(failure), log=log)
    wait = timedelta(seconds=settings.REDOUBT_RETRY_SECONDS * 4 ** (attempts - 1))
    return _leave(lease, state=Leased.State.QUEUED, attempts=attempts, progress=None, not_before=Now() + wait)


def give_back_later(lease: Lease, *, seconds: float) -> bool:
    """Returns the task undone after a failure that was not its own: no attempt is spent, other tasks go first."""
    if lease.number >= settings.REDOUBT_MAX_CLAIMS:
        hopeless = PlatformFailed("lost", f"The platform failed at it {lease.number} times.")
        return _leave(lease, state=Leased.State.DONE, outcome=outcomes.dump(hopeless))
    return _leave(lease, state=Leased.State.QUEUED, progress=None, not_before=Now() + timedelta(seconds=seconds))


def refund(lease: Lease) -> bool:
    """Takes back the attempt that this claim spent, once its failure turned out to be the machine's."""
    unfinished = lease.table._default_manager.filter(pk=lease.task_id, attempts__gt=0).exclude(state=Leased.State.DONE)
    return unfinished.update(attempts=F("attempts") - 1) > 0


def reap(table: type[Leased]) -> int:
    """Returns the tasks of workers that stopped renewing; how many they were.

    A task that was claimed many times without ever ending is taken to kill its workers and fails.
    """
    expired = table._default_manager.filter(state=Leased.State.CLAIMED, lease_until__lt=Now())
    hopeless = PlatformFailed("lost", f"Its worker died {settings.REDOUBT_MAX_CLAIMS} times.")
    reaped = expired.filter(claims__gte=settings.REDOUBT_MAX_CLAIMS).update(
        state=Leased.State.DONE, outcome=outcomes.dump(hopeless), lease_owner="", lease_until=None
    )
    reaped += expired.update(state=Leased.State.QUEUED, lease_owner="", lease_until=None, progress=None)
    if reaped:
        logger.warning("returned %d tasks (%s) whose worker stopped answering", reaped, table.__name__.lower())
    return reaped


def _held(lease: Lease) -> QuerySet[Leased]:
    held = {"state": Leased.State.CLAIMED, "lease_owner": lease.owner, "claims": lease.number}
    return lease.table._default_manager.filter(pk=lease.task_id, **held)


def _leave(lease: Lease, **values: Any) -> bool:
    return _held(lease).update(lease_owner="", lease_until=None, **values) > 0


def _lease_time() -> timedelta:
    return timedelta(seconds=settings.REDOUBT_LEASE_SECONDS)
