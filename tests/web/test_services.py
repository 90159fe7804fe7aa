"""The production installation: the same rules on a real PostgreSQL, with real Redis and Celery worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.production_support import POSTGRES, ROOT, Production, installation, needs_services

pytestmark = needs_services
RULES = ["test_claims.py", "test_worker.py", "test_boards.py", "test_submitting.py", "test_api.py"]
RULES += ["test_quotas.py", "test_matrix_play.py", "test_matrix_pages.py", "test_attack_intake.py"]


def test_the_rules_of_claims_workers_boards_and_api_hold_on_postgresql() -> None:
    files = [str(ROOT / "tests" / "web" / name) for name in RULES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--create-db", *files]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "REDOUBT_TEST_DATABASE": POSTGRES}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    with installation(tmp_path) as made:
        yield made


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
