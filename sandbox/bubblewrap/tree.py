"""The processes of one bubblewrap job, watched and killed through descriptors that cannot come to mean another process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading

from sandbox.base import Limits, SandboxError
from sandbox.kernel.cgroups import Group
from sandbox.memory_watch import MemoryWatch
from sandbox.running import Tree

_DEATH_SECONDS = 20.0


class BubblewrapTree(Tree):
    """bubblewrap itself (`process`) and the first process of its pid namespace, whose death is that of everything inside."""

    watch_seconds = 0.1

    def __init__(self, process: subprocess.Popen[bytes], first: int, group: Group, limits: Limits) -> None:
        """first: number of the namespace's first process, as seen here. Raises ProcessLookupError when it has gone already."""
        self._process, self._group = process, group
        self._lock = threading.Lock()
        self._removed = False
        self._first = os.pidfd_open(first)
        self._outer = os.pidfd_open(process.pid)
        self._watch = None if "memory" in group.controllers else MemoryWatch(first, limits.memory_mb << 20)

    def poll(self, timeout: float) -> int | None:
        if not _ended(self._outer, timeout):
            return None
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def out_of_memory(self) -> bool:
        if self._watch is not None:
            return self._watch.exceeded()
        return self._group.out_of_memory()

    def kill(self) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._removed:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        # The first process is gone only after the kernel has ended every other one of its namespace.
        if not _ended(self._first, _DEATH_SECONDS):
            raise SandboxError(f"A job's processes did not die within {_DEATH_SECONDS:.0f} s of SIGKILL.")
        self._process.wait()
        with self._lock:
            self._removed = True
            os.close(self._first)
            os.close(self._outer)
            if self._watch is not None:
                self._watch.close()
        self._group.remove()


def _ended(pidfd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
