"""What the checks share. Standard library and `sandbox` only: they also run as an ordinary user, without pytest.

A check is a function of a Sandbox whose name is the sentence that it proves; it tries the thing for real.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sandbox import Enforcement, Exit, Job, Limits, Mount, Running, Sandbox
from sandbox.owner import Owner

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


def soon(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


def dead_owner() -> Owner:
    """A process that was this machine's and is no more."""
    script = "from sandbox.owner import Owner; print(Owner.current())"
    command, root = [sys.executable, "-c", script], Path(__file__).resolve().parents[3]
    owner = Owner.parse(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip())
    assert owner is not None
    return owner


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


def traces() -> dict[str, object]:
    """What this process holds and what its jobs may have left on the machine."""
    return {
        "descriptors": sum(_is_kept(fd) for fd in Path("/proc/self/fd").iterdir()),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": _children(),
        "mounts": sum(_is_ours(line) for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "folders": sorted(path.name for path in Path(tempfile.gettempdir()).glob(f"sandbox-*-{os.getpid()}-*")),
        "groups": sorted(folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"-{os.getpid()}-" in Path(folder).name),
    }


def _is_kept(fd: Path) -> bool:
    """Sockets do not count: an engine's client keeps its connections for the next call, and a job has none."""
    try:
        return not str(fd.readlink()).startswith("socket:")
    except OSError:
        return False


def _children() -> int:
    children = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            children += stat.read_text().rpartition(")")[2].split()[1] == str(os.getpid())
        except OSError:
            continue
    return children


def _is_ours(mount: str) -> bool:
    """Whether a job of this process, or bubblewrap's making of one, left it; engines on the machine mount as they please."""
    return "/newroot" in mount or "/oldroot" in mount or f"-{os.getpid()}-" in mount
