"""The production installation: the same rules on a real PostgreSQL, with real Redis and Celery worker processes."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from arena.web import cache
from arena.web.cache import SurvivingRedisCache
from tests.web.backend_support import good_files, zipped
from tests.web.production_support import BEHIND_TLS, POSTGRES, REDIS, ROOT, Production, installation, migrated, needs_services

pytestmark = needs_services
RULES = [
    "jobs/test_leases.py",
    "jobs/test_database_clock.py",
    "jobs/test_quarantine.py",
    "jobs/test_worker.py",
    "leaderboards/test_boards.py",
    "submissions/test_submitting.py",
    "submissions/test_quotas.py",
    "matrix/test_matrix_play.py",
    "matrix/test_attack_intake.py",
]
READERS = ["api/test_api.py", "web/test_matrix_pages.py"]  # they write nothing that the rules above do not


@pytest.mark.slow
@pytest.mark.parametrize("tests", [RULES, pytest.param(READERS, marks=pytest.mark.nightly)], ids=["rules", "readers"])
def test_claims_workers_boards_and_api_keep_to_their_rules_on_postgresql(tests: list[str]) -> None:
    files = [str(ROOT / "tests" / name) for name in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--create-db", *files]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "REDOUBT_TEST_DATABASE": POSTGRES}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout


@pytest.fixture(scope="module")
def template() -> Iterator[Production]:
    with migrated() as made:
        yield made


@pytest.fixture
def production(tmp_path: Path, template: Production) -> Iterator[Production]:
    with installation(tmp_path, template) as made:
        yield made


def test_an_upload_reaches_a_celery_worker_which_finishes_it_after_kill_9(production: Production) -> None:
    production.enter()
    worker = production.start_celery()
    production.wait_for(lambda: production.shards("leased") >= 1)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert not production.completed()
    production.start_celery()
    production.start_sweeper()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()


def test_an_evaluation_whose_message_was_lost_is_found_by_the_sweep(production: Production) -> None:
    production.enter(REDOUBT_TEST_QUEUE="poll")
    production.start_celery()
    production.start_sweeper()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()


def test_a_dead_workers_lease_returns_while_everybody_else_is_busy(production: Production) -> None:
    production.enter()
    dying = production.start_celery(1, REDOUBT_FAKE_SECONDS="600")
    production.wait_for(lambda: production.shards("leased") == 1)
    os.killpg(dying.pid, signal.SIGKILL)
    dying.wait()
    production.start_celery(1, REDOUBT_FAKE_SECONDS="600")
    production.wait_for(lambda: production.shards("leased") == 2)
    production.start_sweeper()
    production.wait_for(lambda: production.shards("leased") == 1)
    assert production.shards("queued") == 3


def test_messages_that_were_swallowed_early_leave_no_worker_idle(production: Production) -> None:
    """Shards that wait for a retry swallow the messages of their evaluation; they are taken soon after their time has come."""
    production.enter()
    production.write("update jobs_shard set not_before = statement_timestamp() + interval '4 seconds'")
    production.start_celery()
    production.start_sweeper()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()


def test_pages_uploads_and_log_ins_work_while_redis_refuses_or_never_answers(production: Production) -> None:
    production.enter(REDOUBT_TEST_QUEUE="poll")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for how, port in (("refuses", 1), ("never answers", mute.getsockname()[1])):
            use_all(production, production.start_web(REDIS_URL=f"redis://127.0.0.1:{port}/0"), entry=f"While Redis {how}")
    production.start_celery()
    production.start_sweeper()
    states = "select count(*) from jobs_trial where state = 'completed'"
    production.wait_for(lambda: production.read(states) == [(3,)])


def use_all(production: Production, url: str, *, entry: str) -> None:
    """Reads pages, tries to log in and enters a defense of that name."""
    with httpx.Client(base_url=url, headers=BEHIND_TLS, timeout=60) as client:
        assert [client.get(page).status_code for page in ("/", "/challenges/mnist-linf/", "/api/v1/challenges")] == [200] * 3
        token = client.get("/log-in/").cookies["csrftoken"]
        form = {"csrfmiddlewaretoken": token, "username": "alice", "password": "wrong"}
        headers = {"Referer": "https://localhost/", "Cookie": f"csrftoken={token}"}
        assert client.post("/log-in/", data=form, headers=headers).status_code in (200, 422)
        archive = {"archive": ("defense.zip", zipped(good_files(entry)))}
        bearer = {"Authorization": f"Bearer {production.token()}"}
        data = {"challenge": "mnist-linf"}
        assert client.post("/api/v1/submissions", data=data, files=archive, headers=bearer).status_code == 201


def test_rate_limits_are_counted_while_redis_is_down_and_in_redis_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1}, "KEY_PREFIX": secrets.token_hex(4)}
    down, up = SurvivingRedisCache("redis://127.0.0.1:1/0", params), SurvivingRedisCache(REDIS, params)
    try:
        down.add("tries", 0)
        assert [down.incr("tries") for _ in range(3)] == [1, 2, 3]
        assert up.get("tries") == 3, "a Redis that was down is not asked again at once"
        monkeypatch.setattr(cache, "_QUIET_SECONDS", 0.0)
        monkeypatch.setattr(cache._Down, "until", 0.0)
        up.add("tries", 0)
        assert up.incr("tries") == 1
        assert SurvivingRedisCache(REDIS, params).get("tries") == 1, "every process sees it"
    finally:
        cache._Down.until = 0.0
        up.delete("tries")
