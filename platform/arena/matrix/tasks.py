"""Celery tasks: thin, they claim and call one service."""

from __future__ import annotations

from celery import shared_task

from arena.evaluations.worker import worker_name
from arena.matrix import worker


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def play() -> None:
    """Plays whatever shard is first in line by now; the message only says that one waits."""
    worker.play_once(owner=worker_name())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery ships no types
def look(trial_id: int) -> None:
    """Takes the first look at an upload if it still waits."""
    worker.look_once(owner=worker_name(), only=trial_id)
