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

from arena.jobs import finishing, leases, lines, outcomes, quarantine, queueing
from arena.jobs.each import each
from arena.jobs.events import swept
from arena.jobs.judges import Line
from arena.jobs.leftovers import sweep_storage
from arena.jobs.models import Shard, Trial

logger = logging.getLogger(__name__)
SECONDS = 5.0  # between two sweeps
_MACHINES_SECONDS = 60.0
_STORAGE_SECONDS = 3600.0


def sweep() -> None:
    """Returns expired leases, finishes trials whose last worker died before it could, and repeats lost messages."""
    leases.return_expired()
    undone = Shard.objects.filter(trial=OuterRef("pk")).exclude(state=Shard.State.DONE)
    failed = Shard.objects.filter(trial=OuterRef("pk"), outcome__kind__in=outcomes.FAILED)
    left = Trial.objects.filter(~Exists(undone) | Exists(failed), state__in=Trial.UNFINISHED)
    each(left.values_list("pk", flat=True), finishing.settle)
    swept.send(sender=None)
    quarantine.forget_lost_machines()
    if settings.REDOUBT_QUEUE == "celery":
        _wake_idle()


def sweep_forever(stop: threading.Event) -> None:
    """Sweeps until `stop` is set."""
    machines, storage = time.monotonic(), -_STORAGE_SECONDS
    try:
        while not stop.is_set():
            try:
                close_old_connections()
                sweep()
                if time.monotonic() - machines > _MACHINES_SECONDS:
                    machines = time.monotonic()
                    queueing.wake(queueing.WORK, 1, task=queueing.SWEEP_MACHINE)
                if time.monotonic() - storage > _STORAGE_SECONDS:
                    storage = time.monotonic()
                    sweep_storage()
            except Exception:
                logger.exception("the sweep goes on after an error")
                connection.close()
            stop.wait(SECONDS)
    finally:
        connection.close()


def _wake_idle() -> None:
    """A message for each shard that waits, unless there is one: then a worker is on its way, or none is free."""
    looks, all_of_them = lines.leasable(Line.FIRST).count(), lines.leasable(*Line).count()
    try:
        for queue, waiting in ((queueing.LOOKS, looks), (queueing.WORK, all_of_them)):
            if waiting and not queueing.awake(queue):
                queueing.wake(queue, waiting)
    except Exception as error:
        logger.warning("The broker does not answer (%s); workers are woken once it does.", error)
