"""Wakes workers through the queue. The database is the truth: a message only says that something waits, not what.

So a lost message, one that comes twice and one that a busy worker swallows all cost nothing but time. While something waits and
no message does, the sweep sends another. A broker that is down is no error for the sender.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings

from arena.jobs.models import Shard, Trial

logger = logging.getLogger(__name__)
WORK, LOOKS = "work", "looks"  # queues; what must not wait behind long work has one of its own
SWEEP_MACHINE = "arena.jobs.tasks.sweep_machine"
_TASKS = {WORK: "arena.jobs.tasks.work", LOOKS: "arena.jobs.tasks.look"}
_MOST = 32  # messages at once: more workers than that find the rest by themselves
_QUIET_SECONDS = 10.0  # after a broker did not answer, so that not every upload waits for it

_quiet_until = 0.0


def wake(queue: str, messages: int, *, task: str = "") -> None:
    """Sends so many messages, at most 32, where there is a queue. task: another than the queue's own. Never raises."""
    global _quiet_until
    if settings.REDOUBT_QUEUE != "celery" or messages < 1 or time.monotonic() < _quiet_until:
        return
    from arena.celery import app  # the embedded installation has no Celery

    try:
        for _ in range(min(messages, _MOST)):
            app.send_task(task or _TASKS[queue], queue=queue, retry=False)
    except Exception as error:
        _quiet_until = time.monotonic() + _QUIET_SECONDS
        logger.warning("The broker does not answer (%s); the sweep wakes the workers once it does.", error)


def hint(*, trial_id: int | None = None) -> None:
    """Wakes a worker for each shard that waits, of one trial or of all."""
    waiting = Shard.objects.filter(state=Shard.State.QUEUED, trial__state__in=Trial.UNFINISHED)
    wake(WORK, (waiting if trial_id is None else waiting.filter(trial=trial_id)).count())


def hint_look() -> None:
    """Wakes the first free worker for what comes before everything else."""
    wake(LOOKS, 1)
    wake(WORK, 1)


def awake(queue: str) -> bool:
    """Whether messages wait in the queue, so that no worker of it is idle. Raises when the broker does not answer."""
    from arena.celery import app

    with app.connection_for_read() as connection:
        declared = connection.default_channel.queue_declare(queue=queue, durable=True, auto_delete=False)
    return int(declared.message_count) > 0
