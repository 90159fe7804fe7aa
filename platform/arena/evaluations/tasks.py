"""Celery tasks of the production installation: thin, they take an id, claim and call one service."""

from __future__ import annotations

from celery import shared_task

from arena.evaluations import worker


@shared_task(ignore_result=True)
def evaluate(shard_id: int) -> None:
    """Works on the shard if it still waits; a message about any other is out of date and does nothing."""
    worker.work_on(shard_id)
