"""Keeps a lease alive while a task is worked on, and shows its progress: a thread beside the evaluation.

The evaluation only leaves its newest progress here; a slow or failing database never slows it down or breaks it.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from django.conf import settings
from django.db import DatabaseError, connection

from arena.jobs import leases
from arena.jobs.leases import Lease
from evaluator.records.report import Progress

logger = logging.getLogger(__name__)
_ASK_SECONDS = 0.5


class Keeper:
    """Use as a context manager around the work. `lost` is True once the work is no longer wanted or no longer ours."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._log = bytearray()
        self._dirty = False
        self._thread = threading.Thread(target=self._run, name=f"keeper of {lease}", daemon=True)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    @property
    def log(self) -> str:
        """The submission's own output so far, as text that any database can hold."""
        with self._lock:
            return self._log.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")

    def on_progress(self, progress: Progress) -> None:
        """Takes the newest progress; it is written within a third of a second."""
        with self._lock:
            self._progress, self._dirty = progress, True

    def on_log(self, text: bytes) -> None:
        """Takes more of the submission's output; what is over the limit is dropped."""
        with self._lock:
            self._log += text[: max(0, settings.REDOUBT_LOG_BYTES - len(self._log))]
            self._dirty = True

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        renewed = asked = time.monotonic()
        try:
            while not self._stop.wait(settings.REDOUBT_PROGRESS_SECONDS):
                now = time.monotonic()
                try:
                    if self._take_dirty():
                        held = leases.write_progress(self._lease, self._progress, self.log)
                        renewed = now
                    elif now - renewed > settings.REDOUBT_LEASE_SECONDS / 3:
                        held = leases.renew(self._lease)
                        renewed = now
                    else:
                        held = True
                    if held and now - asked > _ASK_SECONDS:
                        held = self._lease.wanted()
                        asked = now
                except DatabaseError:
                    # Another try follows; if none succeeds the lease expires and the last write is refused.
                    logger.exception("could not renew the lease of %s", self._lease)
                    connection.close()
                    continue
                if not held:
                    self._lost.set()
                    return
        finally:
            connection.close()

    def _take_dirty(self) -> bool:
        with self._lock:
            dirty, self._dirty = self._dirty, False
        return dirty
