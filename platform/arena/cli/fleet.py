"""The processes of a whole installation on one machine: started, tended and stopped together."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from evaluator.errors import PlatformError

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 10.0
_START_SECONDS = 60.0


def say(text: str, *, wrong: bool = False) -> None:
    """Prints at once; where nobody is left to read it, such as on a closed terminal, it goes on."""
    with suppress(OSError):
        print(text, file=sys.stderr if wrong else sys.stdout, flush=True)


def on_stop(handler: Callable[[int, FrameType | None], None]) -> None:
    """Calls the handler on Ctrl-C, on SIGTERM and when the terminal is closed, unless nohup keeps that away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@dataclass
class Child:
    """One process of the installation."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    retry_at: float = 0.0

    def start(self) -> None:
        dying = _die_with_parent if sys.platform == "linux" else None
        self.process = subprocess.Popen(self.argv, start_new_session=True, preexec_fn=dying)  # noqa: S603

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _die_with_parent() -> None:
    """A killed supervisor takes its children along."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Fleet:
    """Starts the children, restarts workers that die, and stops all of them on a request to stop (see `on_stop`)."""

    children: list[Child]
    _stopping: bool = field(default=False, init=False)

    def run(self, host: str, port: int) -> None:
        """Blocks until stopped. Raises PlatformError when the web process will not stay up."""
        on_stop(self._stop)
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
        limit = time.monotonic() + _START_SECONDS
        while not self._stopping and time.monotonic() < limit and self.children[0].running:
            try:
                socket.create_connection((reached_at(host), port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
                continue
            say(f"\nRedoubt is at {address(host, port)}   (Ctrl-C stops it)\n")
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
            say(f"{child.name} ended with status {code}; starting it again", wrong=True)
            child.start()

    def _shut_down(self) -> None:
        say("\nstopping")
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


def reached_at(host: str) -> str:
    """Where a site that listens on `host` can be reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def address(host: str, port: int) -> str:
    """The site's address for people on this machine."""
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
