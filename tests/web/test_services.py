"""The production installation: the same rules on a real PostgreSQL, with real Redis and Celery worker processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.web.backend_support import bit

ROOT = Path(__file__).resolve().parents[2]
POSTGRES, REDIS = os.environ.get("REDOUBT_TEST_POSTGRES", ""), os.environ.get("REDOUBT_TEST_REDIS", "")
START = "set REDOUBT_TEST_POSTGRES and REDOUBT_TEST_REDIS to the lines that `deploy/dev/services start DIR` prints"
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not (POSTGRES and REDIS), reason=f"PostgreSQL and Redis were not tested: {START}"),
]
RULES = ["test_claims.py", "test_worker.py", "test_boards.py", "test_submitting.py", "test_api.py"]
RULES += ["test_matrix_play.py", "test_matrix_pages.py", "test_attack_intake.py"]
SHARD_SECONDS = 0.6
PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.web.backend_support import enter, person, small_challenge
enter(small_challenge(), person())
"""


def test_the_rules_of_claims_workers_boards_and_api_hold_on_postgresql() -> None:
    files = [str(ROOT / "tests" / "web" / name) for name in RULES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--create-db", *files]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "REDOUBT_TEST_DATABASE": POSTGRES}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout


class Production:
    """A database of its own in the real PostgreSQL, and the Celery workers started on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.url = urlsplit(POSTGRES)._replace(path=f"/{name}").geturl()
        self.workers: list[subprocess.Popen[bytes]] = []
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
        """Migrates, publishes a challenge and enters a defense, as a web process would."""
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", PREPARE]
        subprocess.run(command, cwd=ROOT, env={**self.env, **env}, check=True)

    def start_celery(self) -> subprocess.Popen[bytes]:
        """A worker with two processes and its own beat."""
        schedule = str(self.folder / f"schedule-{len(self.workers)}")
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "arena.celery",
            "worker",
            "-c",
            "2",
            "-B",
            "-s",
            schedule,
            "-l",
            "info",
        ]
        log = (self.folder / "celery.log").open("ab")
        worker = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True)
        log.close()
        self.workers.append(worker)
        return worker

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as database:
            return database.execute(sql).fetchall()  # type: ignore[arg-type]

    def wait_for(self, what: Callable[[], bool], *, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, (self.folder / "celery.log").read_text()[-4000:]
            time.sleep(0.05)

    def shards(self, state: str) -> int:
        return int(self.read(f"select count(*) from evaluations_shard where state = '{state}'")[0][0])

    def completed(self) -> bool:
        return self.read("select state from evaluations_evaluation") == [("completed",)]

    def assert_undisturbed_verdict(self) -> None:
        [(seed, report)] = self.read("select seed, report from evaluations_evaluation")
        assert report["robust_bits"] == [bit(seed, example, 0.6) for example in range(40)]
        assert self.read("select count(*) from leaderboards_standing") == [(1,)]


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    name = f"redoubt_{secrets.token_hex(4)}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"create database {name}")  # type: ignore[arg-type]
    made = Production(tmp_path, name)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def test_an_upload_reaches_a_celery_worker_which_finishes_it_after_kill_9(production: Production) -> None:
    production.enter()
    worker = production.start_celery()
    production.wait_for(lambda: production.shards("claimed") >= 1)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert not production.completed()
    production.start_celery()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()


def test_an_evaluation_whose_message_was_lost_is_found_by_the_sweep(production: Production) -> None:
    production.enter(REDOUBT_TEST_QUEUE="poll")
    production.start_celery()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()


def test_an_upload_is_accepted_while_the_broker_is_down(production: Production) -> None:
    production.enter(REDOUBT_TEST_BROKER="redis://127.0.0.1:1/0")
    assert production.shards("queued") == 4
