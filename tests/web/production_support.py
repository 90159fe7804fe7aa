"""A production installation for tests: a database of its own in the real PostgreSQL, real Redis, web and worker processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.needs import SERVICES
from tests.web.backend_support import bit

ROOT = Path(__file__).resolve().parents[2]
POSTGRES, REDIS = os.environ.get("REDOUBT_TEST_POSTGRES", ""), os.environ.get("REDOUBT_TEST_REDIS", "")
needs_services = [pytest.mark.services, SERVICES.unless(POSTGRES and REDIS)]
SHARD_SECONDS = 0.6
BEHIND_TLS = {"Host": "localhost", "X-Forwarded-Proto": "https"}  # what the proxy in front says
PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("collectstatic", verbosity=0, interactive=False)
"""
ENTER = """
from tests.web.backend_support import enter, person, small_challenge
enter(small_challenge(), person())
"""


class Production:
    """A database of its own in the real PostgreSQL, and the Celery workers started on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.log = folder / "processes.log"
        self.url = urlsplit(POSTGRES)._replace(path=f"/{name}").geturl()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port = 0
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.web.production_process_settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "localhost",
            "DATABASE_URL": self.url,
            "REDIS_URL": REDIS,
            "REDOUBT_SIGNING_KEY": str(folder / "signing-key.pem"),
            "REDOUBT_DATA": str(folder),
            "REDOUBT_LEASE_SECONDS": "1.5",
            "REDOUBT_FAKE_SECONDS": str(SHARD_SECONDS),
        }

    def enter(self, **env: str) -> None:
        """Publishes a challenge and enters a defense, as a web process would."""
        self.manage(ENTER, **env)

    def manage(self, code: str, **env: str) -> str:
        """Runs `code` in Django's shell; returns what it prints."""
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
        run = subprocess.run(command, cwd=ROOT, env={**self.env, **env}, check=True, stdout=subprocess.PIPE, text=True)
        return run.stdout.strip()

    def start_celery(self, processes: int = 2, **env: str) -> subprocess.Popen[bytes]:
        """A worker machine."""
        return self.start("celery", "-A", "arena.celery", "worker", "-c", str(processes), "-l", "info", **env)

    def start_sweeper(self) -> subprocess.Popen[bytes]:
        """The one process beside web and workers."""
        return self.start("django", "sweeper")

    def start_web(self, **env: str) -> str:
        """One web process; where it answers, once it does."""
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port = chosen.getsockname()[1]
        listen = ["--port", str(self.port), "--no-access-log", "--log-level", "warning"]
        self.start("uvicorn", "arena.asgi:application", *listen, **env)
        url = f"http://127.0.0.1:{self.port}"
        self.wait_for(lambda: self._answers(url))
        return url

    def _answers(self, url: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/docs/", headers=BEHIND_TLS, timeout=20).status_code == 200
        return False

    def start(self, module: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """A process in a group of its own; what it says goes to the one log."""
        command = [sys.executable, "-m", module, *arguments]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**self.env, **env}, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as database:
            return database.execute(sql).fetchall()  # type: ignore[arg-type]

    def write(self, sql: str) -> None:
        with psycopg.connect(self.url) as database:
            database.execute(sql)  # type: ignore[arg-type]

    def token(self) -> str:
        """A token of the person who entered."""
        code = "from arena.accounts.models import User; from arena.accounts.services import make_token; "
        code += "print(make_token(user=User.objects.get(), name='test').secret)"
        return self.manage(code)

    def wait_for(self, what: Callable[[], bool], *, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, self.log.read_text()[-4000:]
            time.sleep(0.05)

    def shards(self, state: str) -> int:
        return int(self.read(f"select count(*) from jobs_shard where state = '{state}'")[0][0])

    def completed(self) -> bool:
        return self.read("select state from jobs_trial") == [("completed",)]

    def assert_undisturbed_verdict(self) -> None:
        [(seed, report)] = self.read("select seed, report from jobs_trial join evaluations_evaluation on trial_id = key")
        assert report["robust_bits"] == [bit(seed, example, 0.6) for example in range(40)]
        assert self.read("select count(*) from leaderboards_standing") == [(1,)]


@contextlib.contextmanager
def installation(folder: Path, template: Production) -> Iterator[Production]:
    """A copy of the template that is the installation's own, and an end to all its processes."""
    name = f"redoubt_{secrets.token_hex(4)}"
    _serve(f"create database {name} template {template.name}")
    shutil.copytree(template.folder / "static", folder / "static")
    made = Production(folder, name)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _serve(f"drop database {name} with (force)")


@contextlib.contextmanager
def migrated() -> Iterator[Production]:
    """What every installation begins as: a migrated database, static files collected. To make one takes seconds."""
    name = f"redoubt_template_{secrets.token_hex(4)}"
    _serve(f"create database {name}")
    try:
        with tempfile.TemporaryDirectory(prefix="redoubt-template-") as folder:
            made = Production(Path(folder), name)
            made.manage(PREPARE)
            yield made
    finally:
        _serve(f"drop database {name} with (force)")


def _serve(sql: str) -> None:
    """Has the database server itself do something."""
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(sql)  # type: ignore[arg-type]
