"""Leases and fencing: the rules by which several workers share one database."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from arena.evaluations.models import Evaluation
from arena.evaluations.services import cancel
from arena.jobs import leases, outcomes
from arena.jobs.models import Shard
from evaluator.records.report import PlatformFailed, Progress, SubmissionFailed
from tests.web.backend_support import current, enter, lease_one, person, small_challenge

FAILED = SubmissionFailed("load", "it raised")
PROGRESS = Progress("clean", "", 1, 10, 9)


@pytest.fixture
def evaluation(db: None) -> Evaluation:
    return current(enter(small_challenge(), person()))


def expire(shard_id: int) -> None:
    Shard.objects.filter(pk=shard_id).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_an_evaluation_is_cut_into_shards_of_the_packs_size(evaluation: Evaluation) -> None:
    assert list(evaluation.shards.values_list("start", "stop")) == [(0, 10), (10, 20), (20, 30), (30, 40)]


def test_a_leased_shard_is_not_leased_again(evaluation: Evaluation) -> None:
    taken = [lease_one(owner="a") for _ in range(5)]
    assert len({lease.shard_id for lease in taken if lease}) == 4
    assert taken[4] is None


def test_the_first_claim_starts_the_evaluation(evaluation: Evaluation) -> None:
    lease_one(owner="a")
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.RUNNING
    assert evaluation.started is not None


def test_the_older_evaluation_goes_first(evaluation: Evaluation) -> None:
    enter(evaluation.submission.challenge, person("bob"))
    owners = [lease.trial_id for lease in (lease_one(owner="a") for _ in range(4)) if lease]
    assert owners == [evaluation.key] * 4


def test_shards_of_a_cancelled_evaluation_are_not_leased(evaluation: Evaluation) -> None:
    assert cancel(evaluation=evaluation)
    assert lease_one(owner="a") is None


def test_a_heartbeat_moves_the_end_of_the_lease(evaluation: Evaluation) -> None:
    lease = lease_one(owner="a")
    assert lease
    expire(lease.shard_id)
    assert leases.renew(lease)
    assert leases.return_expired() == 0


def test_the_reaper_returns_an_expired_lease(evaluation: Evaluation) -> None:
    lease = lease_one(owner="a")
    assert lease
    expire(lease.shard_id)
    assert leases.return_expired() == 1
    again = lease_one(owner="b", shard_id=lease.shard_id)
    assert again
    assert again.number == lease.number + 1


def test_a_late_worker_cannot_write_anything(evaluation: Evaluation) -> None:
    late = lease_one(owner="a")
    assert late
    expire(late.shard_id)
    leases.return_expired()
    assert lease_one(owner="a", shard_id=late.shard_id), "even the same worker's next lease fences its last one"
    before = Shard.objects.filter(pk=late.shard_id).values().get()
    assert not leases.renew(late)
    assert not leases.write_progress(late, PROGRESS, "log")
    assert not leases.finish(late, outcomes.dump(FAILED), log="log")
    assert not leases.retry_later(late, PlatformFailed("x", "y"), log="log")
    assert not leases.give_back(late)
    assert Shard.objects.filter(pk=late.shard_id).values().get() == before


def test_a_shard_given_back_is_claimable_at_once_and_costs_no_attempt(evaluation: Evaluation) -> None:
    lease = lease_one(owner="a")
    assert lease
    assert leases.give_back(lease)
    assert lease_one(owner="b", shard_id=lease.shard_id)
    assert Shard.objects.get(pk=lease.shard_id).attempts == 0


def test_a_platform_failure_waits_longer_each_time_and_then_stays(evaluation: Evaluation) -> None:
    failure, waits = PlatformFailed("sandbox", "no"), []
    shard = evaluation.shards.get(index=0)
    for _ in range(2):
        lease = lease_one(owner="a", shard_id=shard.pk)
        assert lease
        assert leases.retry_later(lease, failure, log="")
        shard.refresh_from_db()
        assert shard.state == Shard.State.QUEUED
        waits.append((shard.not_before - timezone.now()).total_seconds())
        assert lease_one(owner="a", shard_id=shard.pk) is None, "not before its time"
        Shard.objects.filter(pk=shard.pk).update(not_before=Now())
    assert waits == pytest.approx([5, 20], abs=1)
    lease = lease_one(owner="a", shard_id=shard.pk)
    assert lease
    leases.retry_later(lease, failure, log="")
    shard.refresh_from_db()
    assert (shard.state, shard.outcome) == (Shard.State.DONE, {"kind": "platform_failed", "reason": "sandbox", "detail": "no"})


def test_a_shard_that_always_kills_its_worker_ends_as_a_platform_failure(evaluation: Evaluation, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_MAX_LEASES = 2
    for _ in range(2):
        lease = lease_one(owner="a", shard_id=evaluation.shards.get(index=0).pk)
        assert lease
        expire(lease.shard_id)
        leases.return_expired()
    shard = evaluation.shards.get(index=0)
    assert shard.state == Shard.State.DONE
    assert shard.outcome["reason"] == "lost"


def test_progress_bumps_the_boards_revision(evaluation: Evaluation) -> None:
    lease = lease_one(owner="a")
    assert lease
    challenge = evaluation.submission.challenge
    challenge.refresh_from_db()
    before = challenge.revision
    leases.write_progress(lease, PROGRESS, "")
    challenge.refresh_from_db()
    assert challenge.revision == before + 1


@pytest.mark.django_db(transaction=True)
def test_workers_racing_for_the_same_shards_never_share_one() -> None:
    enter(small_challenge(examples=40, shard=1), person())
    barrier, taken = threading.Barrier(4), []

    def race(owner: str) -> None:
        try:
            barrier.wait()
            while lease := lease_one(owner=owner):
                taken.append(lease.shard_id)
        finally:
            connection.close()

    racers = [threading.Thread(target=race, args=(f"racer {number}",)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert max(Counter(taken).values()) == 1
    assert len(taken) == 40
