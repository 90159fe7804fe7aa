"""Runs jobs through the launcher, so that this process needs no right over the engine."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

from sandbox import launch
from sandbox.base import (
    Capabilities,
    Enforcement,
    Job,
    Running,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    StreamClosed,
    StreamTimeout,
)
from sandbox.fifos import Fifos
from sandbox.launcher.protocol import LINE_BYTES, ask_start, decode, encode
from sandbox.probe import PROMISES
from sandbox.running import Supervised, Tree

SOCKET, SCRATCH = "SANDBOX_LAUNCHER", "SANDBOX_SCRATCH"
_CALL_SECONDS = 120.0
_LOG_WHEN_FAILED = 2000


class LauncherSandbox(Sandbox):
    """Needs a launcher at the socket SANDBOX_LAUNCHER, and its folder for named pipes as SANDBOX_SCRATCH.

    Its jobs have the form (PYTHON, "-m", MODULE, TARGET) with a folder mounted at TARGET. Interpreter, packages and environment
    are the launcher's, whatever the job says of them.
    """

    name = "launcher"

    def capabilities(self) -> Capabilities:
        try:
            return self._measured()
        except SandboxError as error:
            return Capabilities(self.name, False, dict.fromkeys(PROMISES, Enforcement.NONE), (str(error),))

    def ready(self) -> bool:
        return self.capabilities().available

    def start(self, job: Job) -> Running:
        known = self._measured()
        if not known.available:  # the engine behind it may come back, as the launcher itself may
            raise SandboxUnavailable(f"The launcher cannot run jobs now: {' '.join(known.notes)}")
        launch.demand(known, job)
        module, folder = _form(job)
        scratch = os.environ.get(SCRATCH)
        fifos = Fifos(Path(scratch) if scratch else None, job.limits.log_kb << 10)
        try:
            with contextlib.ExitStack() as undo:
                undo.callback(fifos.close)
                tree = _LauncherTree(_Line())
                undo.callback(tree.remove)
                threads = int(job.env.get("OMP_NUM_THREADS", "1"))
                tree.line.ask(ask_start(module, folder, fifos.folder, threads, job.limits))
                confined = launch.await_ready_or_end(fifos.stream, tree)
                launch.demand_confined(job, confined)
                fifos.connected()
                undo.pop_all()
        except (StreamClosed, StreamTimeout, OSError) as error:
            said = fifos.log.snapshot()[0][:_LOG_WHEN_FAILED].decode(errors="replace").strip()
            raise SandboxError(f"The launcher could not start the job: {said or error}") from error
        return Supervised(tree, fifos.stream, fifos.log, job.limits, confined=confined)

    def _measured(self) -> Capabilities:
        """Raises SandboxUnavailable when no launcher answers."""
        with contextlib.closing(_Line()) as line:
            measured = line.ask({"ask": "capabilities"})
        promises = {name: Enforcement(kept) for name, kept in measured["promises"].items()}
        return Capabilities(self.name, bool(measured["available"]), promises, tuple(measured["notes"]))


def _form(job: Job) -> tuple[str, Path]:
    """Module and folder of a job. Raises SandboxError when it has another form."""
    match job.argv:
        case (_, "-m", module, target):
            found = [mount.source for mount in job.mounts if str(mount.target) == target]
            if len(found) == 1:
                return module, found[0]
    raise SandboxError("The launcher runs jobs of the form PYTHON -m MODULE TARGET with a folder mounted at TARGET.")


class _Line:
    """One connection: request and reply, one caller at a time."""

    def __init__(self) -> None:
        path = os.environ.get(SOCKET)
        if not path:
            raise SandboxUnavailable(f"No launcher is named: set {SOCKET} to its socket.")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_CALL_SECONDS)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise SandboxUnavailable(f"No launcher answers at {path} ({error}).") from error
        self._file = self._socket.makefile("rb")
        self._turn = threading.Lock()

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer. Raises SandboxError with the launcher's words, SandboxUnavailable when it is gone."""
        try:
            with self._turn:
                self._socket.sendall(encode(request))
                line = self._file.readline(LINE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise SandboxUnavailable(f"The launcher does not answer: {error}.") from error
        if not line:
            raise SandboxUnavailable("The launcher closed the connection.")
        reply = decode(line)
        if "error" in reply:
            kind = SandboxUnavailable if reply.get("unavailable") else SandboxError
            raise kind(f"The launcher refused: {reply['error']}")
        return reply.get("answer")

    def close(self) -> None:
        """Ends the job that was started over this line, if it still runs."""
        self._file.close()
        self._socket.close()


class _LauncherTree(Tree):
    """One job, for as long as its line is open."""

    watch_seconds = 0.25  # a kill waits for its turn on the line

    def __init__(self, line: _Line) -> None:
        self.line = line

    def poll(self, timeout: float) -> int | None:
        status = self.line.ask({"ask": "poll", "timeout": timeout})
        return None if status is None else int(status)

    def out_of_memory(self) -> bool:
        return bool(self.line.ask({"ask": "memory"}))

    def kill(self) -> None:
        self.line.ask({"ask": "kill"})

    def remove(self) -> None:
        try:
            self.line.ask({"ask": "remove"})
        finally:
            self.line.close()
