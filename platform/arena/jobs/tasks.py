"""Celery tasks of the production installation: thin. A message only says that something waits; the database says what."""

from __future__ import annotations

import atexit
import threading
import time
from functools import cache
from multiprocessing import current_process
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready
from django.db import connections

from arena.jobs import leftovers, quarantine, queueing
from arena.jobs.worker import Turns
from sandbox.scratch import OwnedFolder

_TURN_SECONDS = 30.0  # after which a worker with more to do says so by a message, and may be stopped or asked for another thing


@cache
def _turns() -> Turns:
    return Turns(threading.Event())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def work() -> None:
    """Does what waits, in the order in which it should be done, until nothing does or its time is over."""
    end = time.monotonic() + _TURN_SECONDS
    while _turns().take():
        if time.monotonic() > end:
            queueing.wake(queueing.WORK, 1)
            return


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def look() -> None:
    """Takes the first look at uploads that wait, and does nothing else: long work waits elsewhere."""
    while _turns().look():
        pass


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def sweep_machine() -> None:
    """Asked for by the sweep every minute, on whichever worker is free: what a neighbour left that crashed."""
    leftovers.sweep_machine()


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery ships no types
def own_the_pools_folder(**_: Any) -> None:
    """The pool of processes makes itself a folder for shared memory, which a kill leaves: the sweep knows whose ours is."""
    folder = OwnedFolder("redoubt-pool-")
    atexit.register(folder.remove, ignore_errors=True)
    current_process()._config["tempdir"] = str(folder.path)  # type: ignore[attr-defined]


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery ships no types
def start(**_: Any) -> None:
    """Once for each worker machine that starts: what was left behind by a crash is that machine's own."""
    leftovers.sweep_leftovers()
    quarantine.check_at_start()
    connections.close_all()  # this process only starts others, which must not inherit a connection
