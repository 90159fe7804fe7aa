"""Celery tasks of the production installation: thin, they take an id, claim and call one service."""

from __future__ import annotations

import atexit
from multiprocessing import current_process
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready

from arena.evaluations import sweeping, worker
from arena.evaluations.judging import configured_judge
from arena.evaluations.tidying import tidy, tidy_machine, tidy_storage
from sandbox.scratch import OwnedFolder


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def evaluate(shard_id: int) -> None:
    """Works on the shard if it still waits; a message about any other is out of date and does nothing."""
    worker.work_on(shard_id)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def sweep() -> None:
    """Run by celery beat every few seconds."""
    sweeping.sweep(merge=configured_judge().merge)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def clear_storage() -> None:
    """Run by celery beat every hour."""
    tidy_storage()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def clear_machine() -> None:
    """Run by celery beat every minute, on whichever worker is free: what a neighbour left that crashed."""
    tidy_machine()


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery ships no types
def own_the_pools_folder(**_: Any) -> None:
    """The pool of processes makes itself a folder for shared memory, which a kill leaves: the janitor knows whose ours is."""
    folder = OwnedFolder("redoubt-pool-")
    atexit.register(folder.remove, ignore_errors=True)
    current_process()._config["tempdir"] = str(folder.path)  # type: ignore[attr-defined]


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery ships no types
def tidy_up(**_: Any) -> None:
    """Once for each worker machine that starts: what was left behind by a crash is that machine's own."""
    tidy()
