"""Workers whose clocks are wrong: what several machines agree on is told by the database's clock alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from arena.evaluations.models import Evaluation
from arena.jobs import leases
from arena.jobs.models import Shard
from arena.jobs.sweeping import sweep
from evaluator.records.report import PlatformFailed
from tests.web.backend_support import FakeJudge, current, enter, lease_one, person, small_challenge, work_once

right = timezone.now
OFF = [timedelta(hours=1), timedelta(hours=-1)]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("off", OFF, ids=["ahead", "behind"])]


@pytest.fixture
def wrong_clock(off: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this process's own clock is an hour off, as a worker's may be; the database's is not."""
    monkeypatch.setattr(timezone, "now", lambda: right() + off)


@pytest.fixture
def evaluation() -> Evaluation:
    return current(enter(small_challenge(), person()))


def test_a_worker_with_a_wrong_clock_returns_dead_workers_tasks_and_no_living_ones(
    evaluation: Evaluation, off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, dead = lease_one(owner="a"), lease_one(owner="b")
    assert living
    assert dead
    Shard.objects.filter(pk=dead.shard_id).update(lease_until=right() - timedelta(seconds=1))
    monkeypatch.setattr(timezone, "now", lambda: right() + off)
    assert leases.return_expired() == 1
    assert leases.renew(living)
    assert not leases.renew(dead)


def test_a_worker_with_a_wrong_clock_holds_its_task_no_longer_than_others(evaluation: Evaluation, wrong_clock: None) -> None:
    assert lease_one(owner="a")
    until = evaluation.shards.get(index=0).lease_until
    assert until is not None
    assert abs((until - right()).total_seconds() - 30) < 20


def test_a_worker_with_a_wrong_clock_finds_what_waits_and_keeps_to_the_time_of_retries(
    evaluation: Evaluation, wrong_clock: None
) -> None:
    lease = lease_one(owner="a", shard_id=evaluation.shards.get(index=0).pk)
    assert lease, "entered by a clock that is right"
    assert leases.retry_later(lease, PlatformFailed("sandbox", "no"), log="")
    assert lease_one(owner="a", shard_id=lease.shard_id) is None
    wait = (evaluation.shards.get(index=0).not_before - right()).total_seconds()
    assert 0 < wait < 10


def test_what_a_web_process_with_a_wrong_clock_queues_is_taken_at_once(
    off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with monkeypatch.context() as wrong:
        wrong.setattr(timezone, "now", lambda: right() + off)
        evaluation = current(enter(small_challenge(), person()))
    assert lease_one(owner="a", shard_id=evaluation.shards.get(index=0).pk)


def test_a_sweep_with_a_wrong_clock_leaves_a_running_evaluation_to_its_end(evaluation: Evaluation, wrong_clock: None) -> None:
    while work_once(judge=FakeJudge()):
        sweep()
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED
    assert set(evaluation.shards.values_list("lease_number", flat=True)) == {1}
