"""What keeps the processes of one sandbox from each other, beside the sandbox itself: prctl(2) and one more Landlock layer."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_SET_DUMPABLE, _SET_CHILD_SUBREAPER, _NO_NEW_PRIVS = 4, 36, 38
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # landlock(7): the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# What numerical libraries read of the machine. Nothing here grows with what other processes do.
_MACHINE = ("cpuinfo", "meminfo", "version", "filesystems", "devices", "modules", "driver", "sys/kernel", "sys/vm")


def hide() -> None:
    """Nobody but root can read or write this process's memory, or its files in /proc; nor those of what it forks."""
    _prctl(_SET_DUMPABLE, 0)


def show() -> None:
    """Undoes `hide`, in a process of the submission's own: its debuggers and its /proc/self work."""
    _prctl(_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Processes whose parent ends become children of this one, which can then wait for all that it ever started."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def seclude() -> bool:
    """From now on this process reads nothing in /proc but what is its own and what describes the machine.

    How often another process was woken, or how long its children computed, is a memory that outlives a process. Must be called
    with one thread. False where the kernel has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION) < 1:
        return False
    ruleset = libc.syscall(_CREATE, struct.pack("=Q", _READ_FILE | _READ_DIR), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    shown = [f"/{name}" for name in os.listdir("/") if name != "proc"]  # noqa: PTH208
    shown += [f"/proc/{os.getpid()}", *(f"/proc/{name}" for name in _MACHINE)]
    for path in ("/", *shown):
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rights = _READ_DIR if path == "/" else _READ_FILE | _READ_DIR if Path(path).is_dir() else _READ_FILE
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        if not path.startswith("/proc/"):  # an open descriptor keeps the kernel's entry, which the rule is tied to
            os.close(place)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    done: int = libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return done == 0


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
