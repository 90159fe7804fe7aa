"""What both backends share once a job runs: deadline, watch for memory, cause of the end, and removal of every trace."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from abc import ABC, abstractmethod

from sandbox.base import Exit, Limits, Running, SandboxError, SandboxUnavailable, Stream
from sandbox.log import BoundedLog

_SIGKILL = 9
_FIRST_SIGNAL_STATUS = 128  # a shell's convention: a status above it is 128 + signal
_STUCK_SECONDS = 30.0


class Tree(ABC):
    """A started process tree, as the backend sees it."""

    watch_seconds: float  # how often `out_of_memory` is asked while the job runs

    @abstractmethod
    def poll(self, timeout: float) -> int | None:
        """The job's status (128 + signal for a signal) once it has ended, or None after `timeout` seconds."""

    @abstractmethod
    def out_of_memory(self) -> bool:
        """Whether the job was, or has to be, killed because memory ran out."""

    @abstractmethod
    def kill(self) -> None:
        """Sends SIGKILL to everything; does not wait. May be called at any time, also from another thread."""

    @abstractmethod
    def remove(self) -> None:
        """Leaves no process, control group, container or file behind; called once, after the end."""


class Supervised(Running):
    """A running job with a thread that enforces its limits and tidies up after it."""

    def __init__(self, tree: Tree, stream: Stream, log: BoundedLog, limits: Limits, *, confined: bool) -> None:
        self.stream, self.confined = stream, confined
        self._tree, self._log = tree, log
        self._deadline = time.monotonic() + limits.seconds
        self._lock = threading.Lock()
        self._cause: str | None = None
        self._exit: Exit | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="sandbox-supervisor", daemon=True)
        _alive.add(self)
        self._thread.start()

    def wait(self, *, timeout: float) -> Exit | None:
        if not self._ended.wait(timeout):
            return None
        return self._result()

    def kill(self) -> Exit:
        try:
            self._stop("killed")
            if not self._ended.wait(_STUCK_SECONDS):
                raise SandboxError(f"The job could not be killed within {_STUCK_SECONDS:.0f} s.")
        finally:
            self.stream.close()
            self._log.close()
            _alive.discard(self)
        return self._result()

    def shorten(self, seconds: float) -> None:
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def log(self) -> tuple[bytes, int]:
        if self._ended.is_set():
            self._log.settle()
        return self._log.snapshot()

    def _result(self) -> Exit:
        if self._exit is None:
            kind = SandboxUnavailable if isinstance(self._error, SandboxUnavailable) else SandboxError
            raise kind(f"The sandbox lost sight of the job: {self._error}.") from self._error
        return self._exit

    def _stop(self, cause: str) -> None:
        with self._lock:
            if self._cause is not None or self._ended.is_set():
                return
            self._cause = cause
        self._tree.kill()

    def _supervise(self) -> None:
        try:
            try:
                ending = self._ending()
            finally:
                self._tree.remove()
            self._exit = ending
        except Exception as error:  # whatever it was, nobody may wait for ever
            self._error = error
        finally:
            self._ended.set()

    def _ending(self) -> Exit:
        status = self._watch()
        out_of_memory = self._cause is None and status != 0 and self._tree.out_of_memory()
        with self._lock:
            self._cause = self._cause or ("memory" if out_of_memory else None)
            return _exit(self._cause, status)

    def _watch(self) -> int:
        while True:
            remaining = self._deadline - time.monotonic()
            if self._cause is None and remaining <= 0:
                self._stop("deadline")
            elif self._cause is None and self._tree.out_of_memory():
                self._stop("memory")
            patience = self._tree.watch_seconds
            status = self._tree.poll(min(patience, remaining) if remaining > 0 else patience)
            if status is not None:
                return status


def _exit(cause: str | None, status: int) -> Exit:
    signal = status - _FIRST_SIGNAL_STATUS if status > _FIRST_SIGNAL_STATUS else None
    code = status if signal is None else None
    if cause in ("killed", "deadline"):
        return Exit(cause, None, _SIGKILL)
    return Exit(cause or ("exited" if signal is None else "signal"), code, signal)


# Jobs that nobody has killed or waited away yet. Held weakly: it must not keep a forgotten job's record for ever.
_alive: weakref.WeakSet[Supervised] = weakref.WeakSet()


@atexit.register
def _kill_all() -> None:
    for running in list(_alive):
        running.kill()
