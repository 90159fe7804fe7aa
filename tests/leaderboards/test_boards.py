"""Boards: what ranks, in which order, and at what cost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from arena.challenges import services
from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.evaluations.entries import measured_under_other_rules
from arena.evaluations.models import Evaluation
from arena.jobs import leases
from arena.jobs.progress import ShardProgress, combine
from arena.leaderboards.overviews import overviews
from arena.leaderboards.queries import EARLIER_RULES, board, histories
from arena.submissions.services import withdraw
from evaluator.records.report import Progress
from tests.web.backend_support import current, enter, lease_one, person, small_challenge, small_pack


def completed(challenge: Challenge, name: str, robust: float, **columns: Any) -> Evaluation:
    """A completed entry with these scores."""
    user = columns.pop("user", None) or person(name)
    evaluation = current(enter(challenge, user, name=name))
    values = {
        "state": Evaluation.State.COMPLETED,
        "verified": True,
        "robust_accuracy": robust,
        "interval_low": robust - 0.02,
        "interval_high": robust + 0.02,
        "clean_accuracy": 0.9,
        "forward_rows": 100,
        "backward_rows": 50,
        "seconds": 1.0,
        "finished": timezone.now(),
    }
    Evaluation.objects.filter(pk=evaluation.pk).update(**{**values, **columns})
    return evaluation


@pytest.fixture
def challenge(db: None) -> Challenge:
    return small_challenge()


def test_defenses_rank_by_robust_accuracy_with_interval_cost_and_team(challenge: Challenge) -> None:
    completed(challenge, "weak", 0.1)
    completed(challenge, "strong", 0.8)
    first, second = board(challenge).ranked
    assert (first.rank, first.name, first.team_name, first.robust_accuracy, first.rows) == (1, "strong", "strong", 0.8, 200)
    assert (first.interval_low, first.interval_high, first.certified_accuracy) == (0.78, 0.8200000000000001, None)
    assert (second.rank, second.name) == (2, "weak")


def test_a_backward_row_counts_two_where_cost_decides_a_tie(challenge: Challenge) -> None:
    completed(challenge, "gradients", 0.5, forward_rows=100, backward_rows=100)
    completed(challenge, "mostly-forward", 0.5, forward_rows=210, backward_rows=10)
    assert [(row.name, row.rows) for row in board(challenge).ranked] == [("mostly-forward", 230), ("gradients", 300)]


def test_an_unverified_entry_stands_below_the_line_with_the_reason(challenge: Challenge) -> None:
    flags = [{"check": "masking", "severity": "unverified", "evidence": "One step beats forty: 91 % against 12 %."}]
    completed(challenge, "suspicious", 0.99, verified=False, flags=flags)
    completed(challenge, "honest", 0.5)
    found = board(challenge)
    assert [row.name for row in found.ranked] == ["honest"]
    [row] = found.unverified
    assert (row.rank, row.reasons) == (None, ("One step beats forty: 91 % against 12 %.",))


def test_a_result_measured_under_earlier_rules_does_not_rank(challenge: Challenge) -> None:
    completed(challenge, "early", 0.9)
    changed = publish(pack=small_pack(epsilon=0.2)).challenge
    found = board(changed)
    assert found.ranked == ()
    assert found.unverified[0].reasons == (EARLIER_RULES,)


def test_verdicts_of_an_evaluator_that_judges_otherwise_do_not_rank_with_the_others(
    challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pack is the same; the code is another, and the site says so and can queue them again."""
    completed(challenge, "early", 0.9)
    monkeypatch.setattr(services, "JUDGING", services.JUDGING + 1)
    changed = publish(pack=small_pack())
    assert changed.publication == services.Publication.RULES_CHANGED
    completed(changed.challenge, "late", 0.4)
    found = board(changed.challenge)
    assert [row.name for row in found.ranked] == ["late"]
    [row] = found.unverified
    assert "an evaluator that judges differently" in row.reasons[0]
    assert [entry.name for entry in measured_under_other_rules(changed.challenge)] == ["early"]


def test_running_entries_come_before_waiting_ones_with_progress_and_place(challenge: Challenge) -> None:
    enter(challenge, person("first"), name="first")
    lease = lease_one(owner="w")
    assert lease
    leases.write_progress(lease, Progress("attacking", "apgd-ce", 4, 10, 7), "")
    enter(challenge, person("second"), name="second")
    enter(challenge, person("third"), name="third")
    running, next_one, last = board(challenge).running
    assert running.progress
    assert (running.progress.attack, running.progress.done, running.progress.total) == ("apgd-ce", 4, 40)
    assert running.progress.survivors == 37, "examples not looked at yet still stand"
    assert [(row.name, row.queue_position) for row in (next_one, last)] == [("second", 2), ("third", 3)], "first goes on first"


def test_failed_cancelled_and_withdrawn_entries_are_on_no_board(challenge: Challenge) -> None:
    completed(challenge, "failed", 0.5, state=Evaluation.State.SUBMISSION_FAILED)
    completed(challenge, "cancelled", 0.5, state=Evaluation.State.CANCELLED)
    withdraw(submission=completed(challenge, "withdrawn", 0.5).submission)
    assert board(challenge).rows == ()


def test_entries_of_another_challenge_are_not_on_this_board(challenge: Challenge) -> None:
    completed(small_challenge("mnist-l2"), "elsewhere", 0.5)
    assert board(challenge).rows == ()


def queries_of_a_board(challenge: Challenge) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        board(challenge)
        overviews([challenge])
        histories(challenge)
    return len(captured)


def test_the_number_of_queries_stays_constant_as_rows_grow(challenge: Challenge) -> None:
    def grow(round: int) -> None:
        user = person(f"user{round}")
        completed(challenge, f"ranked{round}", 0.5, user=user)
        completed(challenge, f"unverified{round}", 0.5, user=user, verified=False)
        enter(challenge, user, name=f"running{round}")
        enter(challenge, user, name=f"waiting{round}")
        while lease := lease_one(owner="w"):
            leases.write_progress(lease, Progress("clean", "", 1, 10, 9), "")
        enter(challenge, user, name=f"queued{round}")

    grow(0)
    few = queries_of_a_board(challenge)
    for round in range(1, 5):
        grow(round)
    assert queries_of_a_board(challenge) == few


def test_a_board_does_not_read_reports(challenge: Challenge) -> None:
    completed(challenge, "large", 0.5)
    with CaptureQueriesContext(connection) as captured:
        board(challenge)
    assert not any('"report"' in query["sql"] for query in captured)


def test_the_leader_in_the_overview_is_the_first_of_the_board(challenge: Challenge) -> None:
    completed(challenge, "bbb", 0.5, clean_accuracy=0.8)
    completed(challenge, "aaa", 0.5, clean_accuracy=0.9)
    completed(challenge, "ccc", 0.9, verified=False)
    [overview] = overviews([challenge])
    assert overview.leader
    assert overview.leader.name == board(challenge).ranked[0].name == "aaa"


def shard(done: bool = False, leased: bool = False, progress: Progress | None = None) -> ShardProgress:
    return ShardProgress(examples=10, done=done, leased=leased, progress=progress)


def test_progress_of_several_shards_adds_up_and_carries_the_rate_on() -> None:
    verifying = Progress("verifying", "", 8, 10, 6)
    attacking = Progress("attacking", "pgd", 2, 10, 9)
    found = combine(
        [
            shard(done=True, progress=Progress("verifying", "", 10, 10, 5)),
            shard(leased=True, progress=verifying),
            shard(leased=True, progress=attacking),
            shard(),
        ],
        elapsed=30.0,
    )
    assert (found.done, found.total, found.survivors, found.shards_done, found.shards) == (20, 40, 30, 1, 4)
    assert (found.stage, found.attack) == ("attacking", "pgd"), "the shard furthest behind speaks"
    assert found.seconds_left == pytest.approx(30.0)
    assert found.share == 0.5


def test_a_single_shards_own_estimate_is_shown() -> None:
    assert (
        combine([shard(leased=True, progress=Progress("clean", "", 1, 10, 9, seconds_left=7.5))], elapsed=1).seconds_left == 7.5
    )


def test_progress_before_the_first_step_is_zero() -> None:
    found = combine([shard(), shard()], elapsed=0)
    assert (found.stage, found.done, found.survivors, found.seconds_left) == ("starting", 0, 20, None)
