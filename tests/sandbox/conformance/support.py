"""What the checks share. Standard library and `sandbox` only: they also run as an ordinary user, without pytest.

A check is a function of a Sandbox whose name is the sentence that it proves; it tries the thing for real.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sandbox import Enforcement, Exit, Job, Limits, Mount, Running, Sandbox

# Debian's own, below the /usr that every job sees.
PYTHON = "/usr/bin/python3"
PATIENCE = 30.0
_LIMITS = Limits()


def shell(script: str, *arguments: str, limits: Limits = _LIMITS, mounts: tuple[Mount, ...] = ()) -> Job:
    return Job(("/bin/sh", "-c", script, "sh", *arguments), limits=limits, mounts=mounts)


def python(script: str, *arguments: str, limits: Limits = _LIMITS, mounts: tuple[Mount, ...] = ()) -> Job:
    return Job((PYTHON, "-I", "-c", script, *arguments), limits=limits, mounts=mounts)


def finish(running: Running, patience: float = PATIENCE) -> Exit:
    ending = running.wait(timeout=patience)
    assert ending is not None, f"the job still runs after {patience} s; it wrote {running.log()[0]!r}"
    return ending


def said(sandbox: Sandbox, job: Job) -> str:
    """What a job writes to stderr; it must end well."""
    with sandbox.start(job) as running:
        ending = finish(running)
        text = running.log()[0].decode()
    assert ending == Exit("exited", 0), f"{ending}: {text}"
    return text


@contextlib.contextmanager
def refused(kind: type[Exception], *, saying: str = "") -> Iterator[None]:
    """As pytest.raises, where there is no pytest."""
    try:
        yield
    except kind as error:
        assert saying in str(error), f"{error!r} does not say {saying!r}"  # noqa: PT017 (no pytest here)
    else:
        raise AssertionError(f"no {kind.__name__}")


def soon(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


def processes_with(marker: str, *, apart_from: int = 0) -> list[int]:
    """Processes of this machine that have `marker` on their command line, except zombies and the one named."""
    found = []
    for process in _processes():
        try:
            command, state = (process / "cmdline").read_bytes(), (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker.encode() in command and state not in "ZX" and int(process.name) != apart_from:
            found.append(int(process.name))
    return found


def full(sandbox: Sandbox, promise: str) -> bool:
    return sandbox.capabilities().promises[promise] is Enforcement.FULL


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())
