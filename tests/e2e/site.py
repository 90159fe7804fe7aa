"""A whole Redoubt on a folder of its own: migrated, served by uvicorn, with or without a worker; stopped at the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0


class Site:
    """The processes of one installation; a context manager. url: where it answers. ids: public ids of a season's entries."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ids: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "arena.settings.embedded",
            "REDOUBT_DATA": str(data),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
            "OMP_NUM_THREADS": "1",
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> None:
        """Runs a management command to its end."""
        self._run("-m", "django", *arguments)

    def season(self, *arguments: str) -> Any:
        """Runs a command of fill_site.py; returns what it printed as JSON."""
        printed = self._run(str(Path(__file__).with_name("fill_site.py")), *arguments)
        return json.loads(printed) if printed.strip() else None

    def serve(self) -> None:
        """Starts the web process and waits until it answers."""
        options = ["--port", str(self.port), "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
        self._start("web", "-m", "uvicorn", "tests.e2e.counted:application", *options)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/docs/", timeout=5).close()
                return
            except (URLError, TimeoutError):  # not listening yet, or too busy to answer
                assert time.monotonic() < end, f"the site did not start:\n{self.log('web')}"
                time.sleep(0.1)

    def streams(self) -> int:
        """How many streams of events are open at the server."""
        with urllib.request.urlopen(f"{self.url}/open-streams", timeout=20) as answer:
            return int(answer.read())

    def work(self) -> None:
        """Starts an evaluation worker."""
        self._start("worker", "-m", "django", "worker")

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return (self.data / f"{name}.log").read_text(errors="replace")[-4000:]

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{arguments} failed:\n{done.stderr}"
        return done.stdout

    def _start(self, name: str, *arguments: str) -> None:
        with (self.data / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], env=self._environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        self._processes.append(process)

    def __enter__(self) -> Site:
        self.data.mkdir(parents=True, exist_ok=True)
        self.manage("migrate", "-v0")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
