"""Outlives the process that started containers, and removes them when it dies, however it dies.

The kernel ends a bubblewrap job with its parent; containers belong to the engine, which would keep them for ever. This file is
also the guardian's program (arguments: PARENT SOCKET LABEL), and for that needs nothing but the standard library.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0


_starting = threading.Lock()
_guardians: dict[tuple[int, str, str], subprocess.Popen[bytes]] = {}


class _Engine(http.client.HTTPConnection):
    """HTTP to the engine over its AF_UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _call(path: str, method: str, target: str) -> bytes:
    connection = _Engine(path)
    try:
        connection.request(method, target)
        return connection.getresponse().read()
    finally:
        connection.close()


def _remove_all(path: str, label: str) -> None:
    filters = urllib.parse.quote(json.dumps({"label": [label]}))
    for container in json.loads(_call(path, "GET", f"/containers/json?all=1&filters={filters}")):
        _call(path, "DELETE", f"/containers/{container['Id']}?force=1&v=1")


def keep_watch(path: str, label: str) -> None:
    """Makes sure that a guardian watches over this process. path: the engine's socket. label: what to remove, NAME=VALUE."""
    key = (os.getpid(), path, label)
    with _starting:
        guardian = _guardians.get(key)
        if guardian is None or guardian.poll() is not None:
            _guardians[key] = subprocess.Popen(  # noqa: S603 (this very file)
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), path, label],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )


@atexit.register
def _dismiss() -> None:
    """An orderly end kills its jobs itself."""
    for (pid, _, _), guardian in _guardians.items():
        if pid == os.getpid():
            guardian.kill()
            guardian.wait()


def main() -> None:
    parent, path, label = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    try:
        watched = os.pidfd_open(parent)
        if os.getppid() == parent:
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            poll.poll()
    except ProcessLookupError:
        pass
    # More than once: the engine may still have been making a container when its maker died.
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
            _remove_all(path, label)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
