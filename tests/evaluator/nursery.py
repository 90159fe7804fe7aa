"""Starts hosts for tests without their imports: one process imports the programs, and every host is a fork of it.

To import torch takes a host more than all that most tests ask of it. Hosts that start by themselves are those of
`tests/sandbox` and `tests/running`.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAMS = ("evaluator.host.serve", "evaluator.host.attack_serve")


@contextmanager
def started(program: str, folder: Path, end: socket.socket) -> Iterator[None]:
    """One of PROGRAMS, in a process of its own that talks through `end` and is killed at the end of the context."""
    line, _ = _nursery()
    socket.send_fds(line, [f"{program} {folder}".encode()], [end.fileno()])
    process = int(line.recv(64))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        line.send(str(process).encode())
        line.recv(64)  # it is gone


@functools.cache
def _nursery() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The line to the process that forks, and that process; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, __file__], stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    theirs.close()
    return ours, process


def _forking() -> None:
    """Forks a host for each program and descriptor that it is sent; waits for a host when it is sent its number."""
    programs: dict[str, Any] = {name: importlib.import_module(name) for name in PROGRAMS}
    line = socket.socket(fileno=0)
    while True:
        said, descriptors, *_ = socket.recv_fds(line, 4096, 1)
        if not said:
            return
        if not descriptors:
            os.waitpid(int(said), 0)
            line.send(b"gone")
            continue
        process = os.fork()
        if process:
            os.close(descriptors[0])
            line.send(str(process).encode())
            continue
        name, folder = said.decode().split(" ", 1)
        for number in (0, 1):
            os.dup2(descriptors[0], number)
        os.close(descriptors[0])
        sys.exit(programs[name].main(folder))


if __name__ == "__main__":
    _forking()
