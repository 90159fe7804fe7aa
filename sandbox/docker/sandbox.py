"""Runs jobs as containers of a Docker engine on this machine.

The engine must see this process's files under the same paths: inputs are bound, and the stream goes through named pipes. Where
the worker is itself a container, bind the folders of the inputs and `scratch` into it at their own paths.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions

from sandbox import gpu_locks, launch
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
from sandbox.docker import guardian as docker_guardian
from sandbox.docker.container import Template, create
from sandbox.docker.image import base_image
from sandbox.docker.tree import DockerTree, remove_owed
from sandbox.fifos import Fifos
from sandbox.owner import Owner, boot_id
from sandbox.probe import measure, on_linux_only
from sandbox.running import Supervised

# Who made a container, and until when (in seconds of Unix time) its job may run.
OWNER_LABEL, UNTIL_LABEL = "sandbox.owner", "sandbox.until"
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_CALL_SECONDS = 120
_DIGEST = re.compile(r"(?:.+@)?sha256:[0-9a-f]{64}")
_LOG_WHEN_FAILED = 2000
FAILURES = (docker.errors.DockerException, requests.exceptions.RequestException)


@dataclass(frozen=True)
class DockerSettings:
    """How to run containers.

    host: the engine's socket, unix:///...; None for the environment's DOCKER_HOST or Docker's usual place. image: a production
    image by digest (NAME@sha256:... or sha256:...); None for an empty one onto which the host's /usr is bound. runtime: for
    instance "runsc" for gVisor (which needs --host-fifo=open). gpus: device identifiers that jobs get. scratch: where the
    short-lived named pipes are made; None for the system's place for temporary files.
    """

    host: str | None = None
    image: str | None = None
    runtime: str | None = None
    gpus: tuple[str, ...] = ()
    scratch: Path | None = None

    def socket(self) -> str:
        """The path of the engine's socket. Raises SandboxError for an engine that is not on this machine."""
        host = self.host or os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
        if not host.startswith("unix://"):
            raise SandboxError(f"The Docker engine {host} is not on this machine: set DOCKER_HOST to a unix:// socket.")
        return host.removeprefix("unix://")


class DockerSandbox(Sandbox):
    """Needs a Docker engine on this machine and the right to use its socket."""

    name = "docker"

    def __init__(self, settings: DockerSettings = DockerSettings()) -> None:
        self._settings = settings

    def capabilities(self) -> Capabilities:
        if (elsewhere := on_linux_only("docker")) is not None:
            return elsewhere
        with _measuring:
            key = (os.environ.get("DOCKER_HOST"), self._settings)
            known = _measured.get(key)
            if known is None:
                start = functools.partial(_start, self._settings)
                known = measure("docker", start, memory_of_tree=True, cpus=Enforcement.FULL)
                # An engine that is not there yet may come: only what was measured is remembered.
                if known.available:
                    _measured[key] = known
            return known

    def start(self, job: Job) -> Running:
        launch.demand(self.capabilities(), job)
        return _start(self._settings, job)

    def ready(self) -> bool:
        try:
            return bool(connect(self._settings).ping())
        except (SandboxError, *FAILURES):
            return False


_measuring = threading.Lock()
_measured: dict[tuple[str | None, DockerSettings], Capabilities] = {}


def connect(settings: DockerSettings) -> Any:
    """A docker.APIClient for the engine. Raises SandboxError, saying what to do, when there is none."""
    path = settings.socket()
    try:
        # First without the SDK, which forgets to close a socket that it cannot connect.
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(path)
        return _client(path, os.getpid())
    except (OSError, *FAILURES) as error:
        raise SandboxUnavailable(
            f"No Docker engine answers at {path} ({error}): install Docker, start it and let this user use its socket."
        ) from error


@functools.cache
def _client(path: str, pid: int) -> Any:
    """One for each process: connections do not survive a fork."""
    del pid
    return docker.APIClient(base_url=f"unix://{path}", version="auto", timeout=_CALL_SECONDS)


def template(api: Any, settings: DockerSettings) -> Template:
    """What all containers of these settings share. Raises SandboxError for an image that is not named by its digest."""
    if settings.image is not None:
        if not _DIGEST.fullmatch(settings.image):
            raise SandboxError(f"Name the image {settings.image!r} by its digest, NAME@sha256:..., so that it cannot change.")
        api.inspect_image(settings.image)
    image = settings.image or base_image(api)
    return Template(image, settings.image is None, os.cpu_count() or 1, settings.runtime, settings.gpus)


def make_tree(settings: DockerSettings, job: Job, pipes: Path) -> DockerTree:
    """Makes the job's container, to be started by the caller. pipes: the folder that `Fifos` made.

    Raises SandboxError, and what the SDK raises.
    """
    launch.check(job)
    api = connect(settings)
    remove_owed(api)
    owner = f"{boot_id()}/{Owner.current()}"
    labels = {OWNER_LABEL: owner, UNTIL_LABEL: f"{time.time() + launch.START_SECONDS + job.limits.seconds:.0f}"}
    docker_guardian.keep_watch(settings.socket(), f"{OWNER_LABEL}={owner}")
    with gpu_locks.hold(settings.gpus) as held:
        return DockerTree(api, create(api, template(api, settings), job, pipes, labels), held.pop_all())


def _start(settings: DockerSettings, job: Job) -> Running:
    fifos = Fifos(settings.scratch, job.limits.log_kb << 10)
    try:
        with contextlib.ExitStack() as undo:
            undo.callback(fifos.close)
            tree = make_tree(settings, job, fifos.folder)
            undo.callback(tree.remove)
            tree.start()
            confined = launch.await_ready_or_end(fifos.stream, tree)
            launch.demand_confined(job, confined)
            fifos.connected()
            undo.pop_all()
    except (StreamClosed, StreamTimeout, OSError, *FAILURES) as error:
        said = fifos.log.snapshot()[0][:_LOG_WHEN_FAILED].decode(errors="replace").strip()
        # The SDK's own errors are answers of the engine; these say that there was none.
        kind = SandboxUnavailable if isinstance(error, requests.exceptions.RequestException) else SandboxError
        raise kind(f"Docker could not start the job: {said or getattr(error, 'explanation', None) or error}") from error
    return Supervised(tree, fifos.stream, fifos.log, job.limits, confined=confined)
