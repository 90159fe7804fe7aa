"""Landlock (landlock(7)) as a third layer below mounts and seccomp: what a job may do to files, however they are mounted.

This file is also the program that a job's launcher runs inside, with the job's command as its arguments. It confines itself and
becomes the command. It needs nothing but the standard library, and says on stdout whether the kernel confined it.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

CONFINED, PLAIN = b"L", b"R"  # the byte that tells the sandbox that the job is about to run, and how
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
# Rights of linux/landlock.h by their bits: execute, write file, read file, read dir, remove dir, remove file, make char, dir,
# reg, sock, fifo, block, sym (ABI 1), refer (2), truncate (3), ioctl of devices (5).
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ = 1 << 0 | 1 << 2 | 1 << 3
_LIST = 1 << 3
_DEVICES = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 14 | 1 << 15
# Everything but executing and making devices: a job's own files are data.
_SCRATCH = ((1 << 15) - 1) & ~(1 << 0 | 1 << 6 | 1 << 11)
_TCP, _SCOPES = 0b11, 0b11  # bind and connect (ABI 4); abstract sockets and signals to outside (ABI 6)
_WRITTEN = {"/dev": _DEVICES, "/tmp": _SCRATCH, "/dev/shm": _SCRATCH}  # noqa: S108


def confine() -> bool:
    """Confines this process and all its children for good; False where the kernel has no Landlock.

    Raises OSError when the kernel has it and refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if abi < 1:
        return False
    rights = _RIGHTS[max(version for version in _RIGHTS if version <= abi)]
    attributes = struct.pack("=QQQ", rights, _TCP, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _checked(libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    # A rule holds for everything below its folder, so the root itself can grant no more than what holds everywhere.
    top = (f"/{name}" for name in os.listdir("/"))  # noqa: PTH208 (pathlib takes longer to import than all of this)
    places = {"/": _LIST} | dict.fromkeys(filter(os.path.isdir, top), _READ) | _WRITTEN
    for place, allowed in places.items():
        folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", allowed & rights, folder)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
        os.close(folder)
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return True


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    try:
        byte = CONFINED if confine() else PLAIN
    except OSError:
        byte = PLAIN
    os.write(1, byte)
    os.execv("/usr/bin/env", ["env", "-i", *sys.argv[1:]])  # noqa: S606 (the job's command, as a list)
