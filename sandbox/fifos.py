"""Named pipes through which a container's standard streams reach this process without passing through the engine.

The engine's own attach socket copies every byte four times through two more processes, and frames it. These pipes cost what
any pipe costs, and a job that floods stderr floods nothing but our drain.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.log import BoundedLog
from sandbox.scratch import OwnedFolder
from sandbox.stream import PipeStream

_PREFIX = "sandbox-"
INSIDE = "/run/sandbox"
# The shell that runs first inside connects its standard streams and goes on with its arguments.
CONNECT = f'exec <{INSIDE}/in >{INSIDE}/out 2>{INSIDE}/err && exec "$@"'


class Fifos:
    """A folder with the pipes `in`, `out`, `err` (seen from the job) and an empty file `empty`."""

    def __init__(self, parent: Path | None, log_bytes: int) -> None:
        """parent: where to make the folder; None for the system's place for temporary files."""
        self._owned = OwnedFolder(_PREFIX, parent)
        self.folder = self._owned.path
        # The job is another user: it may pass through the folder and use the pipes, whatever our umask is.
        self.folder.chmod(0o711)
        (self.folder / "empty").touch(mode=0o644)
        for name in ("in", "out", "err"):
            os.mkfifo(self.folder / name)
            (self.folder / name).chmod(0o666)
        # While these are open no end waits for the other to appear, and none shows as closed.
        self._held = [os.open(self.folder / name, os.O_RDWR | os.O_NONBLOCK) for name in ("in", "out", "err")]
        self.stream = PipeStream(self._open("out", os.O_RDONLY), self._open("in", os.O_WRONLY))
        self.log = BoundedLog(self._open("err", os.O_RDONLY), keep=log_bytes)

    def connected(self) -> None:
        """To be called once the job has all its ends: from now on its end is seen, and no file of ours is left."""
        while self._held:
            os.close(self._held.pop())
        self._owned.remove()

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())
        self._owned.remove(ignore_errors=True)
        self.stream.close()
        self.log.close()

    def _open(self, name: str, mode: int) -> int:
        return os.open(self.folder / name, mode | os.O_NONBLOCK)
