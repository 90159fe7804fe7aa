"""The worker: claims a shard, has it judged, stores the outcome, and finishes the evaluation with its last shard."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path

from django.db import close_old_connections, connection

from arena.evaluations import claims, finishing
from arena.evaluations.claims import Lease
from arena.evaluations.judging import Judge, Task, configured_judge
from arena.evaluations.keeper import Keeper
from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.sweeping import sweep
from arena.submissions.intake import sha256, unpack
from evaluator.errors import Cancelled, InputError
from evaluator.report import Outcome, PlatformFailed, SubmissionFailed, SubmissionReason

logger = logging.getLogger(__name__)
_IDLE_SECONDS = 0.5
_SWEEP_SECONDS = 5.0
_AFTER_ERROR_SECONDS = 2.0


def worker_name() -> str:
    """A name no other worker has or had: machine, process and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def work_once(*, judge: Judge | None = None, owner: str | None = None, stop: threading.Event | None = None) -> bool:
    """Works on the shard that is first in line; False when none waits."""
    return _work(claims.claim(owner=owner or worker_name()), judge or configured_judge(), stop or threading.Event())


def work_on(shard_id: int, *, judge: Judge | None = None) -> bool:
    """Works on this shard if it waits; False when it does not (done, taken, cancelled, or to be retried later)."""
    lease = claims.claim(owner=worker_name(), shard_id=shard_id)
    return _work(lease, judge or configured_judge(), threading.Event())


def work_forever(stop: threading.Event, *, judge: Judge | None = None) -> None:
    """Works until `stop` is set; the shard then at hand is given back. Sweeps between shards."""
    owner, judge = worker_name(), judge or configured_judge()
    swept = 0.0
    logger.info("worker %s waits for evaluations", owner)
    while not stop.is_set():
        try:
            close_old_connections()
            if time.monotonic() - swept > _SWEEP_SECONDS:
                sweep(merge=judge.merge)
                swept = time.monotonic()
            if not work_once(judge=judge, owner=owner, stop=stop):
                stop.wait(_IDLE_SECONDS)
        except Exception:
            # The database restarts, the disk is full: nothing is lost, the lease expires or the sweep settles.
            logger.exception("the worker goes on after an error")
            connection.close()
            stop.wait(_AFTER_ERROR_SECONDS)
    logger.info("worker %s stopped", owner)


def _work(lease: Lease | None, judge: Judge, stop: threading.Event) -> bool:
    if lease is None:
        return False
    with Keeper(lease) as keeper:
        outcome = _judge(lease, judge, keeper, stop)
    if outcome is None:
        claims.give_back(lease)
    elif isinstance(outcome, PlatformFailed):
        held = claims.retry_later(lease, outcome, log=keeper.log)
        _settle_if(held, lease, judge)
    else:
        held = claims.finish(lease, outcome, log=keeper.log)
        _settle_if(held, lease, judge)
    return True


def _settle_if(held: bool, lease: Lease, judge: Judge) -> None:
    if held:
        finishing.settle(lease.evaluation_id, merge=judge.merge)
    else:
        logger.warning("the outcome of shard %d came after its lease was lost; it is dropped", lease.shard_id)


def _judge(lease: Lease, judge: Judge, keeper: Keeper, stop: threading.Event) -> Outcome | None:
    """The shard's outcome; None when the work was stopped. Any error of our own is the platform's failure."""
    shard = Shard.objects.get(pk=lease.shard_id)
    evaluation = Evaluation.objects.defer("report").select_related("submission").get(pk=lease.evaluation_id)
    try:
        with tempfile.TemporaryDirectory(prefix="redoubt-work-") as temporary:
            folder = Path(temporary)
            with evaluation.submission.archive.open("rb") as archive:
                if sha256(archive) != evaluation.submission.digest:
                    return PlatformFailed("storage", "The stored archive is not the one that was submitted.")
                try:
                    unpack(archive, folder)
                except InputError as error:  # accepted under older, wider limits
                    return SubmissionFailed(SubmissionReason.MANIFEST, str(error))
            task = Task(pack=evaluation.judged_pack, folder=folder, seed=evaluation.seed, shard=(shard.start, shard.stop))
            return judge.run(
                task,
                on_progress=keeper.on_progress,
                on_log=keeper.on_log,
                cancelled=lambda: stop.is_set() or keeper.lost,
            )
    except Cancelled:
        return None
    except Exception as error:
        logger.exception("judging shard %d failed", lease.shard_id)
        return PlatformFailed("internal", f"{type(error).__name__}: {error}")
