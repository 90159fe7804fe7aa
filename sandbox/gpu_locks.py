"""One tenant per GPU: a lock for each device, held until the job's container is gone, and its memory on the device with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sandbox.base import SandboxUnavailable


def hold(devices: Iterable[str], folder: Path | None = None) -> contextlib.ExitStack:
    """Takes the lock of every device, or of none; `close()` of what is returned gives them back, as does the process's death.

    devices: as the engine knows them. folder: where the locks are, the same for all processes that share the devices; None for
    the system's place for temporary files. Raises SandboxUnavailable when another job has one of them.
    """
    with contextlib.ExitStack() as held:
        for device in sorted(set(devices)):
            name = "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in device)
            path = (folder or Path(tempfile.gettempdir())) / f"sandbox-gpu-{name}.lock"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            held.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SandboxUnavailable(f"Another job has the GPU {device}.") from error
        return held.pop_all()
