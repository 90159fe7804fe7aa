"""The worker: leases a shard, has it judged, stores the outcome, and settles the trial with its last shard."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from itertools import cycle

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from arena.jobs import finishing, leases, lines, outcomes, quarantine
from arena.jobs.judges import Judge, Line, judge_named
from arena.jobs.keeper import Keeper
from arena.jobs.leases import Lease
from arena.jobs.leftovers import sweep_leftovers
from arena.jobs.models import Shard
from arena.jobs.outcomes import Outcome
from arena.jobs.sandboxes import configured_sandbox
from arena.running.listening import Listener
from arena.running.outcomes import UNAVAILABLE
from evaluator.errors import Cancelled, PlatformError
from evaluator.records.report import PlatformFailed, SubmissionFailed

logger = logging.getLogger(__name__)
_IDLE_SECONDS = 0.5
_TIDY_SECONDS = 60.0
_AFTER_ERROR_SECONDS = 2.0


def worker_name() -> str:
    """A name no other worker has or had: machine, process and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def work_once(
    line: Line,
    *,
    owner: str | None = None,
    stop: threading.Event | None = None,
    only: int | None = None,
    challenge_id: int | None = None,
    without: frozenset[int] = frozenset(),
) -> bool:
    """Works on the shard that is first in this line (see `lines.lease_first`); False when none waits."""
    owner, stop = owner or worker_name(), stop or threading.Event()
    lease = lines.lease_first(line, owner=owner, only=only, challenge_id=challenge_id, without=without)
    if lease is None:
        return False
    _carry_out(lease, stop)
    return True


class Turns:
    """What a worker does next: uploads are looked at first; the other lines take turns, so neither starves the other.

    After a look the others come first once, so that uploads, however many and of however many teams, stop nobody.

    A machine in quarantine, or one whose sandbox does not answer, does nothing.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._owner, self._stop = worker_name(), stop
        self._next: Iterator[Line] = cycle((Line.OLDEST, Line.FAIR))
        self._looked = False

    def take(self) -> bool:
        """One task; False when there was none to be had."""
        without = self._allowed()
        return without is not None and any(self._took(line, without) for line in self._lines())

    def look(self) -> bool:
        """One look at an upload; False when none waits."""
        without = self._allowed()
        return without is not None and self._work(Line.FIRST, without)

    def _lines(self) -> Iterator[Line]:
        if not self._looked:
            yield Line.FIRST
        yield next(self._next)
        yield next(self._next)
        if self._looked:
            yield Line.FIRST

    def _took(self, line: Line, without: frozenset[int]) -> bool:
        took = self._work(line, without)
        if took:
            self._looked = line is Line.FIRST
        return took

    def _allowed(self) -> frozenset[int] | None:
        """The challenges to leave alone; None for all of them."""
        held = quarantine.held()
        if held.everything or not configured_sandbox().ready():
            self._stop.wait(_AFTER_ERROR_SECONDS)
            return None
        return held.challenges

    def _work(self, line: Line, without: frozenset[int]) -> bool:
        return work_once(line, owner=self._owner, stop=self._stop, without=without)


def work_forever(stop: threading.Event) -> None:
    """Works until `stop` is set; what is then at hand is given back."""
    turns, tidied = Turns(stop), -_TIDY_SECONDS
    logger.info("a worker waits for evaluations")
    quarantine.check_at_start()
    while not stop.is_set():
        try:
            close_old_connections()
            if time.monotonic() - tidied > _TIDY_SECONDS:
                sweep_leftovers()
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
    """Looks at uploads until `stop` is set, beside whatever takes long: a broken attack is reported within a minute."""
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


def _carry_out(lease: Lease, stop: threading.Event) -> None:
    """Does the work of a lease, stores what came of it, and settles the trial.

    The shard is given back when the work was stopped and when the database fails. Any other error of our own is the platform's
    failure, which is tried again later and counts against the shard unless this machine is to blame.
    """
    judge, begun = judge_named(lease.judge), time.monotonic()
    with Keeper(lease) as keeper:
        outcome = _outcome(lease, judge, keeper, stop)
    if isinstance(outcome, PlatformFailed) and outcome.reason == UNAVAILABLE:
        logger.warning("%s waits until its sandbox answers: %s", lease, outcome.detail)
        outcome = None
    if outcome is None:
        leases.give_back(lease)
        return
    if isinstance(outcome, PlatformFailed):
        if quarantine.is_ours(lease, outcome):
            logger.error("%s is returned and costs no attempt, since this machine was at fault: %s", lease, outcome.detail)
            leases.give_back_later(lease, seconds=settings.REDOUBT_RETRY_SECONDS)
            return
        held = leases.retry_later(lease, outcome, log=keeper.log)
    else:
        quarantine.succeeded()
        inputs = None if isinstance(outcome, SubmissionFailed) else outcome.adversarial or None
        spent = time.monotonic() - begun
        held = leases.finish(lease, outcomes.dump(outcome), log=keeper.log, inputs=inputs, seconds=spent)
    if held:
        finishing.settle(lease.trial_id)
    else:
        logger.warning("the outcome of %s came after its lease was lost; it is dropped", lease)


def _outcome(lease: Lease, judge: Judge, keeper: Keeper, stop: threading.Event) -> Outcome | None:
    """What the judge says of the shard; None where the work was stopped or the database failed."""
    listener = Listener(keeper.on_progress, keeper.on_log, lambda: stop.is_set() or keeper.lost)
    try:
        return judge.run(Shard.objects.get(pk=lease.shard_id), listener)
    except Cancelled:
        return None
    except DatabaseError:
        logger.exception("the database failed during %s", lease)
        connection.close()
        return None
    except PlatformError as error:
        return PlatformFailed(error.reason, str(error))
    except Exception as error:
        logger.exception("working on %s failed", lease)
        return PlatformFailed("internal", f"{type(error).__name__}: {error}")
