"""What a job may leave on the machine, counted before and after: whatever is more afterwards was left by it."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sandbox import Sandbox
from sandbox.owner import Owner
from tests.sandbox.conformance.support import processes_with, resident_bytes, traces

MORE_MEMORY = 64 << 20
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Traces:
    """This process's descriptors, threads, children, mounts, folders and control groups, its memory, and its containers."""

    counted: dict[str, object]
    containers: tuple[str, ...]
    resident: int

    @classmethod
    def now(cls, sandbox: Sandbox) -> Traces:
        return cls(traces(), _containers() if sandbox.name == "docker" else (), resident_bytes())

    def left(self, sandbox: Sandbox, marker: str, *, memory: int = MORE_MEMORY) -> list[str]:
        """What is there now and was not then, once it had a chance to go.

        marker: a word on the job's command line. memory: the bytes by which this process may have grown.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (found := self._left(sandbox, marker, memory)) and time.monotonic() < deadline:
            time.sleep(0.05)
            gc.collect()
        return found

    def _left(self, sandbox: Sandbox, marker: str, memory: int) -> list[str]:
        now = Traces.now(sandbox)
        more = {name: _more(value, self.counted[name]) for name, value in now.counted.items()}
        found = [f"{name} left behind: {what}" for name, what in more.items() if what]
        if now.containers != self.containers:
            found.append(f"containers left behind: {now.containers}")
        if now.resident > self.resident + memory:
            found.append(f"the worker grew by {(now.resident - self.resident) >> 20} MiB")
        processes = processes_with(marker)
        return [*found, f"processes left behind: {processes}"] if processes else found


def _more(now: object, before: object) -> object:
    """By how much, or in which elements, `now` exceeds `before`."""
    if isinstance(now, int) and isinstance(before, int):
        return max(0, now - before)
    assert isinstance(now, list)
    assert isinstance(before, list)
    return sorted((Counter(now) - Counter(before)).elements())


def _containers() -> tuple[str, ...]:
    """Those that jobs of this process made."""
    from tests.sandbox.engine import owned_containers

    return tuple(sorted(container["Id"] for container in owned_containers(Owner.current())))


def host_memory_bytes() -> int:
    """What the machine could still give to programs."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def free_disk_bytes(folder: Path) -> int:
    """What the file system of `folder` could still take."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
