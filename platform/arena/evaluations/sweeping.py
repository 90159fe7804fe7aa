"""The sweep: finds what crashes and lost messages left behind. Any number of processes may run it at any time.

It runs beside the work and never behind it: in a thread of the embedded worker, in production in a process of its own.
"""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import Exists, OuterRef

from arena.evaluations import claims, finishing, quarantine, queueing
from arena.evaluations.each import each
from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.tidying import tidy_storage
from arena.matrix.claims import claimable_shards, claimable_trials
from arena.matrix.sweeping import sweep as sweep_matrix

logger = logging.getLogger(__name__)
SECONDS = 5.0  # between two sweeps
_MACHINES_SECONDS = 60.0
_STORAGE_SECONDS = 3600.0


def sweep(*, merge: finishing.Merge) -> None:
    """Returns expired leases, finishes evaluations whose last worker died before it could, and repeats lost messages."""
    claims.reap()
    undone = Shard.objects.filter(evaluation=OuterRef("pk")).exclude(state=Shard.State.DONE)
    failed = Shard.objects.filter(evaluation=OuterRef("pk"), outcome__kind__in=["submission_failed", "platform_failed"])
    left = Evaluation.objects.filter(~Exists(undone) | Exists(failed), state__in=Evaluation.UNFINISHED)
    each(left.values_list("pk", flat=True), lambda evaluation: finishing.settle(evaluation, merge=merge))
    sweep_matrix()
    quarantine.forget_lost_machines()
    if settings.REDOUBT_QUEUE == "celery":
        _wake_idle()


def sweep_forever(stop: threading.Event, *, merge: finishing.Merge) -> None:
    """Sweeps until `stop` is set."""
    machines, storage = time.monotonic(), -_STORAGE_SECONDS
    try:
        while not stop.is_set():
            try:
                close_old_connections()
                sweep(merge=merge)
                if time.monotonic() - machines > _MACHINES_SECONDS:
                    machines = time.monotonic()
                    queueing.wake(queueing.WORK, 1, task=queueing.CLEAR_MACHINE)
                if time.monotonic() - storage > _STORAGE_SECONDS:
                    storage = time.monotonic()
                    tidy_storage()
            except Exception:
                logger.exception("the sweep goes on after an error")
                connection.close()
            stop.wait(SECONDS)
    finally:
        connection.close()


def _wake_idle() -> None:
    """A message for each task that waits, unless there is one: then a worker is on its way, or none is free."""
    shards = claims.claimable().count() + claimable_shards().count()
    trials = claimable_trials().count()
    try:
        for queue, waiting in ((queueing.LOOKS, trials), (queueing.WORK, shards + trials)):
            if waiting and not queueing.awake(queue):
                queueing.wake(queue, waiting)
    except Exception as error:
        logger.warning("The broker does not answer (%s); workers are woken once it does.", error)
