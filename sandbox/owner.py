"""Who started a job: written on everything that could outlive a crashed process, so that leftovers are distinct from work."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_LINUX = sys.platform.startswith("linux")
_TEXT = re.compile(r"(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class Owner:
    """One process of this boot.

    namespace: inode of its pid namespace. started: its start time in clock ticks since boot, which tells it from a later
    process of the same number.
    """

    namespace: int
    pid: int
    started: int

    @classmethod
    def current(cls) -> Owner:
        pid = os.getpid()
        started = _start_time(pid)
        return cls(_namespace(), pid, started if started is not None else 0)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that `str` wrote, or None when the text is something else."""
        match = _TEXT.fullmatch(text)
        return cls(*(int(part) for part in match.groups())) if match else None

    def __str__(self) -> str:
        return f"{self.namespace}-{self.pid}-{self.started}"

    def is_near(self) -> bool:
        """Whether it is, or was, in this process's pid namespace; any other cannot be looked up from here."""
        return self.namespace == _namespace()

    def is_dead(self) -> bool:
        """Whether the process has certainly ended, as far as can be seen from here."""
        return self.is_near() and _start_time(self.pid) != self.started


def boot_id() -> str:
    """The kernel's random name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> int:
    """0 where the system has no such thing: every process then sees every other."""
    return Path("/proc/self/ns/pid").stat().st_ino if _LINUX else 0


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, elsewhere 0; None when there is no such process, or only its zombie."""
    if not _LINUX:
        return 0 if _is_there(pid) else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
