"""`redoubt serve`: the whole product on one machine in one foreground command; what `make run` starts."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated

import typer

from evaluator.data.fetching import Fetching, fetch
from evaluator.errors import InputError, PlatformError

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 10.0
_START_SECONDS = 60.0


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=0, max=16, help="Evaluation workers to run beside the web.")] = 1,
) -> None:
    """Migrate, fetch MNIST, publish the packs, enter the baselines, and serve web and workers until Ctrl-C."""
    _refuse_taken(host, port)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arena.settings.embedded")
    _prepare()
    listen = ["--host", host, "--port", str(port)]
    web = [sys.executable, "-m", "uvicorn", "arena.asgi:application", *listen]
    web += ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
    worker = [sys.executable, "-m", "django", "worker"]
    fleet = Fleet([Child("web", web), *(Child(f"worker {n + 1}", worker) for n in range(workers))])
    fleet.run(host, port)


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            help = f"Stop what uses it, or choose another: make run PORT={port + 1}."
            raise InputError(f"cannot listen: {error.strerror}.", where=f"{host}:{port}", help=help) from error


def _prepare() -> None:
    """Everything that must be there before the first page: idempotent, and quick the second time."""
    import django
    from django.core.management import call_command

    django.setup()
    print("database: migrating", flush=True)
    call_command("migrate", verbosity=0, interactive=False)
    print("MNIST: checking", flush=True)
    try:
        fetch("mnist", on_progress=_tell_source())
    except PlatformError as error:  # the boards and the site work without it; evaluations will say the same
        print(f"MNIST: {error}", file=sys.stderr, flush=True)
    call_command("publish_packs")
    call_command("seed_baselines")


def _tell_source() -> Callable[[Fetching], None]:
    """Prints each source once as it is tried."""
    seen: set[str] = set()

    def tell(step: Fetching) -> None:
        if step.source not in seen:
            seen.add(step.source)
            print(f"MNIST: trying {step.source}", flush=True)

    return tell


@dataclass
class Child:
    """One process of the installation."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    retry_at: float = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: S603

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _die_with_parent() -> None:
    """A killed supervisor takes its children along."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Fleet:
    """Starts the children, restarts workers that die, and stops all of them on SIGINT or SIGTERM."""

    children: list[Child]
    _stopping: bool = field(default=False, init=False)

    def run(self, host: str, port: int) -> None:
        """Blocks until stopped. Raises PlatformError when the web process will not stay up."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        try:
            for child in self.children:
                child.start()
            self._announce(host, port)
            while not self._stopping:
                self._tend()
                time.sleep(0.2)
        finally:
            self._shut_down()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _announce(self, host: str, port: int) -> None:
        """Prints the URL once the web process answers."""
        shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host  # noqa: S104
        limit = time.monotonic() + _START_SECONDS
        while not self._stopping and time.monotonic() < limit and self.children[0].running:
            try:
                socket.create_connection(("127.0.0.1" if host == "0.0.0.0" else host, port), timeout=1).close()  # noqa: S104
            except OSError:
                time.sleep(0.1)
                continue
            print(f"\nRedoubt is at http://{shown}:{port}/   (Ctrl-C stops it)\n", flush=True)
            return

    def _tend(self) -> None:
        for child in self.children:
            if child.running or time.monotonic() < child.retry_at or self._stopping:
                continue
            code = child.process.returncode if child.process else None
            if child.name == "web":
                raise PlatformError("web", f"the web process ended with status {code}.", help="Its last lines are above.")
            child.failures += 1
            child.retry_at = time.monotonic() + min(30.0, 2.0**child.failures)
            print(f"{child.name} ended with status {code}; starting it again", file=sys.stderr, flush=True)
            child.start()

    def _shut_down(self) -> None:
        print("\nstopping", flush=True)
        for child in self.children:
            if child.running and child.process:
                child.process.terminate()
        limit = time.monotonic() + _STOP_SECONDS
        for child in self.children:
            if child.process is None:
                continue
            try:
                child.process.wait(timeout=max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
