"""Whether a sandbox is as it was before submitted code ran in it: what is written there, and what its counters say.

A file that a model wrote is a memory, and so is a number that only grows: how many processes there were, how many files. A
place that was written to cannot be made as if it had not. So nothing is tidied up: a touched sandbox is not used again.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PLACES = ("/tmp", "/dev/shm")  # noqa: S108 (the two that a job can write to)
NUMBERS = 64  # process numbers of one life: those that it did not use are used up after it
_TICK_SECONDS = 0.02  # file times have the kernel's ticks


def alone() -> bool:
    """Whether there is no other process but the first one of the namespace, and no memory that this process shares."""
    try:
        processes = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        maps = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return False
    shared = any(line.split()[1][1::2] == "ws" for line in maps)
    mine = os.getpid() in processes and processes <= {1, os.getpid()}
    return mine and os.getuid() != 0 and not shared and hasattr(os, "O_TMPFILE")


@dataclass(frozen=True)
class _Place:
    """A writable folder: its attributes, times and names; the number of the next file, None where it cannot be known."""

    attributes: tuple[int, ...]
    names: tuple[str, ...]
    number: int | None

    @classmethod
    def seen(cls, path: str) -> _Place:
        found = Path(path).stat()
        attributes = (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns)
        return cls(attributes, tuple(sorted(os.listdir(path))), _next_file(path))  # noqa: PTH208

    def after(self, before: _Place) -> bool:
        """Whether nothing happened since `before` but that its number was asked for."""
        if self.number is None or before.number is None:
            return False
        return (self.attributes, self.names, self.number) == (before.attributes, before.names, before.number + 1)


class Footprint:
    """The sandbox as it is now; `untouched` compares."""

    def __init__(self) -> None:
        time.sleep(_TICK_SECONDS)
        self._places = {path: _Place.seen(path) for path in PLACES if Path(path).is_dir()}
        time.sleep(_TICK_SECONDS)
        self._first = _aligned()

    def untouched(self) -> bool:
        """Whether the sandbox is as it was; to be asked once after each life, when all its processes have ended."""
        try:
            now = {path: _Place.seen(path) for path in self._places}
        except OSError:
            return False
        same = all(now[path].after(self._places[path]) for path in now)
        used = _process_number() - self._first
        self._places, self._first = now, _aligned()
        return same and 0 <= used < NUMBERS


def _next_file(path: str) -> int | None:
    """The number of a file without a name, made and forgotten: a file system in memory counts all it ever made."""
    try:
        file = os.open(path, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError:
        return None
    try:
        return os.fstat(file).st_ino
    finally:
        os.close(file)


def _process_number() -> int:
    """The number of a thread, made and gone: the namespace gives them out in order."""
    numbers: list[int] = []
    thread = threading.Thread(target=lambda: numbers.append(threading.get_native_id()))
    thread.start()
    thread.join()
    return numbers[0]


def _aligned() -> int:
    """Uses numbers up to the next multiple of NUMBERS, which it returns: where a life begins says nothing of the one before."""
    while (last := _process_number()) % NUMBERS != NUMBERS - 1:
        pass
    return last + 1
