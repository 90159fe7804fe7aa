"""The one process that holds the engine's socket: `python -m sandbox.launcher CONFIG.toml`.

Workers reach it over a unix socket and can start what the template says and nothing else. A job belongs to the connection that
started it and ends with it, however the client dies. The jobs of a launcher that dies are removed by its guardian.
"""

from __future__ import annotations

import logging
import math
import os
import socketserver
import sys
import threading
import time
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from sandbox.base import Limits, Mount, SandboxError, SandboxUnavailable
from sandbox.docker import sandbox as docker
from sandbox.docker.tree import DockerTree
from sandbox.launcher.protocol import LINE_BYTES, Template, checked, decode, encode
from sandbox.sweeping import sweep

_MAX_WAIT = 1.0
_TIDY_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LauncherSettings:
    """listen: the socket's path, which only the workers' group may use. engine: how containers are made."""

    listen: Path
    template: Template
    engine: docker.DockerSettings

    @classmethod
    def read(cls, path: Path) -> LauncherSettings:
        """From TOML. Raises SandboxError naming what is wrong."""
        try:
            given = tomllib.loads(path.read_text())
            engine = given.get("engine", {})
            template = Template(
                python=given["python"],
                programs={name: PurePosixPath(target) for name, target in given["programs"].items()},
                inputs=Path(given["inputs"]),
                scratch=Path(given["scratch"]),
                ceilings=replace(Limits(), **given.get("ceilings", {})),
                mounts=tuple(Mount(Path(m["source"]), PurePosixPath(m["target"])) for m in given.get("mounts", [])),
                env=given.get("env", {}),
                hidden={name: tuple(map(PurePosixPath, paths)) for name, paths in given.get("hidden", {}).items()},
            )
            gpus = tuple(engine.pop("gpus", ()))
            engine.setdefault("image", os.environ.get("SANDBOX_IMAGE"))
            return cls(Path(given["listen"]), template, docker.DockerSettings(gpus=gpus, scratch=template.scratch, **engine))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SandboxError(f"The launcher's settings {path} cannot be used: {type(error).__name__}: {error}.") from error


class Launcher(socketserver.ThreadingUnixStreamServer):
    """Serves until stopped; every connection has a thread and at most one job."""

    daemon_threads = True

    def __init__(self, settings: LauncherSettings) -> None:
        self.settings = settings
        settings.listen.unlink(missing_ok=True)
        before = os.umask(0o117)  # the workers' group, and nobody else
        try:
            super().__init__(str(settings.listen), _Connection)
        finally:
            os.umask(before)


class _Connection(socketserver.StreamRequestHandler):
    server: Launcher

    def handle(self) -> None:
        self._tree: DockerTree | None = None
        try:
            while line := self.rfile.readline(LINE_BYTES + 1):
                self.wfile.write(encode(self._answer(line)))
                if not line.endswith(b"\n"):
                    return
        except OSError:
            pass  # the client is gone
        finally:
            if self._tree is not None:
                self._tree.remove()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = decode(line)
            return {"answer": self._do(request)}
        except SandboxUnavailable as error:
            return {"error": str(error), "unavailable": True}
        except (SandboxError, *docker.FAILURES) as error:
            return {"error": str(getattr(error, "explanation", None) or error), "unavailable": False}

    def _do(self, request: dict[str, Any]) -> Any:
        match request.get("ask"):
            case "capabilities":
                sandbox = docker.DockerSandbox(self.server.settings.engine)
                known = asdict(sandbox.capabilities())  # measured once: that the engine answered then says nothing of now
                return known | {"available": known["available"] and sandbox.ready()}
            case "start":
                return self._start(request)
            case "poll":
                timeout = request.get("timeout")
                if not isinstance(timeout, int | float) or not 0 <= timeout < math.inf:
                    raise SandboxError("A poll has a timeout in seconds.")
                return self._job().poll(min(timeout, _MAX_WAIT))
            case "memory":
                return self._job().out_of_memory()
            case "kill":
                return self._job().kill()
            case "remove":
                tree, self._tree = self._tree, None
                return None if tree is None else tree.remove()
        raise SandboxError("The launcher is asked for capabilities, start, poll, memory, kill or remove.")

    def _job(self) -> DockerTree:
        if self._tree is None:
            raise SandboxError("No job was started over this connection.")
        return self._tree

    def _start(self, request: dict[str, Any]) -> None:
        if self._tree is not None:
            raise SandboxError("A connection has one job.")
        settings = self.server.settings
        start = checked(request, settings.template)
        self._tree = docker.make_tree(settings.engine, start.job, start.pipes)
        self._tree.start()


def _tidy_forever(engine: docker.DockerSettings) -> None:
    """Removes what a launcher left that was killed together with its guardian.

    Again and again: the engine may be away now, or still be making a container that the dead launcher asked for.
    """
    while True:
        try:
            for what in sweep(engine):
                logger.warning("removed the %s of a process that crashed", what)
        except (SandboxError, OSError, *docker.FAILURES) as error:
            logger.warning("leftovers of crashed processes could not be removed: %s", error)
        time.sleep(_TIDY_SECONDS)


def main() -> None:
    settings = LauncherSettings.read(Path(sys.argv[1]))
    with Launcher(settings) as launcher:
        threading.Thread(target=_tidy_forever, args=(settings.engine,), daemon=True).start()
        # What is enforced is measured before the first worker asks.
        threading.Thread(target=docker.DockerSandbox(settings.engine).capabilities, daemon=True).start()
        launcher.serve_forever()
