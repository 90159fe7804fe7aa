"""The worker: claims a shard, has it judged, stores the outcome, and finishes the evaluation with its last shard."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle

from django.db import close_old_connections, connection

from arena.evaluations import claims, finishing, quarantine
from arena.evaluations.claims import Lease
from arena.evaluations.judging import Judge, Task, configured_judge, configured_sandbox
from arena.evaluations.keeper import Keeper
from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.tidying import tidy
from arena.evaluations.working import carry_out, unpack_submission
from arena.matrix.playing import Player
from arena.matrix.worker import greet_once, look_once, play_once
from evaluator.errors import SubmissionError
from evaluator.records.report import Outcome, SubmissionFailed
from sandbox.scratch import owned_folder

logger = logging.getLogger(__name__)
_IDLE_SECONDS = 0.5
_TIDY_SECONDS = 60.0
_AFTER_ERROR_SECONDS = 2.0


def worker_name() -> str:
    """A name no other worker has or had: machine, process and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def work_once(
    *,
    judge: Judge | None = None,
    player: Player | None = None,
    owner: str | None = None,
    stop: threading.Event | None = None,
    without: frozenset[int] = frozenset(),
) -> bool:
    """Works on the shard that is first in line, or on a replay that comes before a search; False when none waits.

    without: on none of these challenges.
    """
    owner, stop = owner or worker_name(), stop or threading.Event()
    if greet_once(owner=owner, player=player, stop=stop, without=without):
        return True
    return _work(claims.claim(owner=owner, without=without), judge or configured_judge(), stop)


def work_on(shard_id: int, *, judge: Judge | None = None) -> bool:
    """Works on this shard if it waits; False when it does not (done, taken, cancelled, or to be retried later).

    What is to be replayed before the search is played first.
    """
    if not configured_sandbox().ready():
        return False
    owner, evaluation = worker_name(), Shard.objects.values_list("evaluation", flat=True).get(pk=shard_id)
    while greet_once(owner=owner, only=evaluation):
        pass
    lease = claims.claim(owner=owner, shard_id=shard_id)
    return _work(lease, judge or configured_judge(), threading.Event())


class Turns:
    """What a worker does next: uploads are looked at first; evaluations and cells take turns, so neither starves the other.

    A machine in quarantine, or one whose sandbox does not answer, does nothing.
    """

    def __init__(self, stop: threading.Event, *, judge: Judge | None = None) -> None:
        self._owner, self._stop, self._judge = worker_name(), stop, judge
        self._next: Iterator[Callable[[frozenset[int]], bool]] = cycle((self._evaluate, self._play))

    def take(self) -> bool:
        """One task; False when there was none to be had."""
        without = self._allowed()
        return without is not None and (self._look(without) or next(self._next)(without) or next(self._next)(without))

    def look(self) -> bool:
        """One look at an upload; False when none waits."""
        without = self._allowed()
        return without is not None and self._look(without)

    def _allowed(self) -> frozenset[int] | None:
        """The challenges to leave alone; None for all of them."""
        held = quarantine.held()
        if held.everything or not configured_sandbox().ready():
            self._stop.wait(_AFTER_ERROR_SECONDS)
            return None
        return held.challenges

    def _look(self, without: frozenset[int]) -> bool:
        return look_once(owner=self._owner, stop=self._stop, without=without)

    def _evaluate(self, without: frozenset[int]) -> bool:
        return work_once(judge=self._judge, owner=self._owner, stop=self._stop, without=without)

    def _play(self, without: frozenset[int]) -> bool:
        return play_once(owner=self._owner, stop=self._stop, without=without)


def work_forever(stop: threading.Event, *, judge: Judge | None = None) -> None:
    """Works until `stop` is set; what is then at hand is given back."""
    turns, tidied = Turns(stop, judge=judge), -_TIDY_SECONDS
    logger.info("a worker waits for evaluations")
    quarantine.check_at_start()
    while not stop.is_set():
        try:
            close_old_connections()
            if time.monotonic() - tidied > _TIDY_SECONDS:
                tidy()
                tidied = time.monotonic()
            if not turns.take():
                stop.wait(_IDLE_SECONDS)
        except Exception:
            # The database restarts, the disk is full: nothing is lost, the lease expires or the sweep settles.
            logger.exception("the worker goes on after an error")
            connection.close()
            stop.wait(_AFTER_ERROR_SECONDS)
    logger.info("the worker stopped")


def look_forever(stop: threading.Event) -> None:
    """Looks at uploads until `stop` is set, beside whatever takes long: a broken attack is told within a minute."""
    turns = Turns(stop)
    try:
        while not stop.wait(_IDLE_SECONDS):
            try:
                close_old_connections()
                turns.look()
            except Exception:
                logger.exception("looking at uploads goes on after an error")
                stop.wait(_AFTER_ERROR_SECONDS)
    finally:
        connection.close()


def _work(lease: Lease | None, judge: Judge, stop: threading.Event) -> bool:
    if lease is None:
        return False
    carry_out(
        lease,
        work=lambda keeper: _judge(lease, judge, keeper, stop),
        finish=lambda outcome, log: claims.finish(lease, outcome, log=log),
        settle=lambda: finishing.settle(lease.evaluation_id, merge=judge.merge),
    )
    return True


def _judge(lease: Lease, judge: Judge, keeper: Keeper, stop: threading.Event) -> Outcome:
    """The shard's outcome. Raises Cancelled when the work was stopped."""
    shard = Shard.objects.get(pk=lease.shard_id)
    evaluation = Evaluation.objects.defer("report").select_related("submission").get(pk=lease.evaluation_id)
    with owned_folder("redoubt-work-") as folder:
        try:
            unpack_submission(evaluation.submission, folder)
        except SubmissionError as error:
            return SubmissionFailed(error.reason, str(error))
        task = Task(pack=evaluation.judged_pack, folder=folder, seed=evaluation.seed, shard=(shard.start, shard.stop))
        return judge.run(
            task,
            on_progress=keeper.on_progress,
            on_log=keeper.on_log,
            cancelled=lambda: stop.is_set() or keeper.lost,
        )
