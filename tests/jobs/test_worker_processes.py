"""Real worker processes on a real database file: killed, stopped and restarted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.backend_support import bit

ROOT = Path(__file__).resolve().parents[2]
SHARD_SECONDS = 0.6
LEASE_SECONDS = 1.5
PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.web.backend_support import enter, person, small_challenge
enter(small_challenge(), person())
"""


def environment(folder: Path, *, shard_seconds: float = 0) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.web.worker_process_settings",
        "PYTHONPATH": str(ROOT),
        "REDOUBT_DATA": str(folder),
        "REDOUBT_LEASE_SECONDS": str(LEASE_SECONDS),
        "REDOUBT_FAKE_SECONDS": str(shard_seconds),
    }


class Installation:
    """An embedded installation in a folder of its own, and the worker processes started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, *, shard_seconds: float = SHARD_SECONDS) -> subprocess.Popen[bytes]:
        command, env = [sys.executable, "manage.py", "worker"], environment(self.folder, shard_seconds=shard_seconds)
        worker = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
        self.workers.append(worker)
        return worker

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.folder / "redoubt.sqlite3", timeout=20)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def wait_for(self, what: Callable[[], bool], *, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, self.read("select state, lease_number, attempts from jobs_shard")
            time.sleep(0.03)

    def shards(self, state: str) -> int:
        return int(self.read(f"select count(*) from jobs_shard where state = '{state}'")[0][0])

    def state(self) -> str:
        return str(self.read("select state from jobs_trial")[0][0])

    def robust_bits(self) -> list[int]:
        bits: list[int] = json.loads(self.read("select report from evaluations_evaluation")[0][0])["robust_bits"]
        return bits

    def undisturbed_bits(self) -> list[int]:
        seed = int(self.read("select seed from jobs_trial")[0][0])
        return [bit(seed, example, 0.6) for example in range(40)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one queued evaluation, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("prepared")
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", PREPARE]
    subprocess.run(command, cwd=ROOT, env=environment(folder), check=True)
    return folder


@pytest.fixture
def installation(prepared: Path, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(shutil.copytree(prepared, tmp_path / "data"))
    yield made
    for worker in made.workers:
        worker.kill()
        worker.wait()


def test_kill_9_of_a_worker_mid_evaluation_ends_in_a_completed_evaluation_after_restart(installation: Installation) -> None:
    worker = installation.start_worker()
    installation.wait_for(lambda: installation.shards("done") == 1 and installation.shards("leased") == 1)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert installation.state() == "running"
    installation.start_worker()
    installation.wait_for(lambda: installation.state() == "completed")
    assert installation.robust_bits() == installation.undisturbed_bits()
    numbers = [row[0] for row in installation.read('select lease_number from jobs_shard order by "index"')]
    assert numbers == [1, 2, 1, 1], "only the shard that the dead worker held was run again"


def test_a_worker_that_was_frozen_past_its_lease_cannot_write_over_the_one_that_took_over(installation: Installation) -> None:
    frozen = installation.start_worker()
    installation.wait_for(lambda: installation.shards("leased") == 1)
    frozen.send_signal(signal.SIGSTOP)
    installation.start_worker()
    installation.wait_for(lambda: installation.shards("done") == 4)
    frozen.send_signal(signal.SIGCONT)
    installation.wait_for(lambda: installation.state() == "completed")
    time.sleep(SHARD_SECONDS)
    assert installation.robust_bits() == installation.undisturbed_bits()
    assert installation.read("select count(*) from leaderboards_standing") == [(1,)]


def test_workers_asked_to_stop_give_their_shards_back_and_exit_cleanly(installation: Installation) -> None:
    workers = [installation.start_worker(shard_seconds=60) for _ in range(2)]
    installation.wait_for(lambda: installation.shards("leased") == 2)
    workers[0].send_signal(signal.SIGTERM)
    workers[1].send_signal(signal.SIGINT)
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert installation.shards("leased") == 0
    assert installation.read("select max(attempts) from jobs_shard") == [(0,)]
