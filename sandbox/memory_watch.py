"""Adds up a job's memory where no control group does: for an ordinary user's bubblewrap.

A bound that is checked ten times a second is overrun before it is noticed, and memory that no process maps is not seen. So this
is declared PARTIAL. What it does give is that a bomb spread over many processes ends with the cause "memory".
"""

from __future__ import annotations

import contextlib
import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Sums over the processes of one pid namespace, listed by the namespace's own /proc."""

    def __init__(self, first: int, limit: int) -> None:
        """first: the namespace's first process, as seen here. limit: bytes."""
        self._limit = limit
        self._path = f"/proc/{first}/root/proc"
        self._proc: int | None = None

    def exceeded(self) -> bool:
        """Whether the job holds more than the limit; False when it cannot be seen (not started, or ended)."""
        if self._proc is None:
            with contextlib.suppress(OSError):
                self._proc = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self._proc is None:
                return False
        try:
            members = [name for name in os.listdir(self._proc) if name.isdigit()]  # noqa: PTH208 (of a descriptor)
        except OSError:
            return False
        # Resident pages count a shared page once for each process; only when they exceed is the exact, costlier share read.
        if sum(self._resident(pid) for pid in members) <= self._limit:
            return False
        return sum(self._share(pid) for pid in members) > self._limit

    def close(self) -> None:
        if self._proc is not None:
            os.close(self._proc)
            self._proc = None

    def _resident(self, pid: str) -> int:
        fields = self._read(f"{pid}/statm").split()
        return int(fields[1]) * _PAGE if len(fields) > 1 else 0

    def _share(self, pid: str) -> int:
        for line in self._read(f"{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
        return self._resident(pid)

    def _read(self, name: str) -> str:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return ""
        with os.fdopen(fd) as file, contextlib.suppress(OSError):
            return file.read()
        return ""
