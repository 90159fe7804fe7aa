"""The worker: from a queued evaluation to a verdict, whatever goes wrong on the way."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db.models.functions import Now

from arena.evaluations.models import Evaluation
from arena.evaluations.official import OfficialJudge
from arena.evaluations.services import cancel, enqueue
from arena.jobs import finishing, leases, worker
from arena.jobs.models import Shard
from arena.jobs.queries import log_text
from arena.jobs.sweeping import sweep
from arena.leaderboards.queries import board, history
from arena.running.requests import Request
from evaluator.records.identity import JUDGING
from evaluator.records.receipt import verify
from evaluator.records.report import PlatformFailed, Report, SubmissionFailed
from tests.web.backend_support import (
    FakeJudge,
    current,
    enter,
    expected_bits,
    good_files,
    person,
    small_challenge,
    work_forever,
    work_once,
    zipped,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def evaluation() -> Evaluation:
    return current(enter(small_challenge(), person()))


def work(judge: FakeJudge, *, times: int = 20) -> None:
    """Works until nothing waits; retries need not be waited for."""
    for _ in range(times):
        Shard.objects.filter(state=Shard.State.QUEUED).update(not_before=Now())
        if not work_once(judge=judge):
            return


def test_the_last_shard_finishes_the_evaluation_with_the_merged_report(evaluation: Evaluation) -> None:
    work(FakeJudge())
    evaluation.refresh_from_db()
    bits = expected_bits(evaluation)
    assert evaluation.state == Evaluation.State.COMPLETED
    report = Report.model_validate(evaluation.report)
    assert report.robust_bits == bits
    assert report.ids == list(range(40))
    assert evaluation.robust_accuracy == sum(bits) / 40
    assert evaluation.interval_low < evaluation.robust_accuracy < evaluation.interval_high  # type: ignore[operator]
    assert (evaluation.forward_rows, evaluation.backward_rows, evaluation.verified) == (400, 360, True)


def test_a_stored_report_still_carries_a_valid_signature(evaluation: Evaluation) -> None:
    work(FakeJudge())
    evaluation.refresh_from_db()
    report = Report.model_validate(evaluation.report)
    verify(report)


def test_a_completed_evaluation_enters_the_history(evaluation: Evaluation) -> None:
    work(FakeJudge())
    evaluation.refresh_from_db()
    [event] = history(evaluation.submission)
    assert (event.robust_accuracy, event.cause) == (evaluation.robust_accuracy, "entered")


def test_one_failed_shard_fails_the_submission_at_once(evaluation: Evaluation) -> None:
    judge = FakeJudge(plan=[None, SubmissionFailed("shape", "Answered (3, 7) where (3, 10) was due.")])
    work(judge)
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.SUBMISSION_FAILED
    assert (evaluation.reason, evaluation.detail) == ("shape", "Answered (3, 7) where (3, 10) was due.")
    assert judge.calls == 2, "the other shards are not run for nothing"
    assert evaluation.robust_accuracy is None


def test_a_platform_failure_is_retried_to_the_same_verdict(evaluation: Evaluation) -> None:
    work(FakeJudge(plan=[PlatformFailed("sandbox", "would not start"), PlatformFailed("sandbox", "would not start")]))
    evaluation.refresh_from_db()
    report = Report.model_validate(evaluation.report)
    assert report.robust_bits == expected_bits(evaluation)


def test_three_platform_failures_of_a_shard_end_it_as_the_platforms_fault(evaluation: Evaluation) -> None:
    work(FakeJudge(plan=[PlatformFailed("sandbox", "would not start")] * 12))
    evaluation.refresh_from_db()
    assert (evaluation.state, evaluation.reason) == (Evaluation.State.PLATFORM_FAILED, "sandbox")


def test_an_error_of_our_own_is_the_platforms_and_its_trace_is_logged(
    evaluation: Evaluation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        work(FakeJudge(plan=[ZeroDivisionError("ours")]))
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED
    assert "ZeroDivisionError: ours" in caplog.text
    assert "Traceback" in caplog.text


def test_a_lost_archive_is_the_platforms_failure(evaluation: Evaluation) -> None:
    evaluation.submission.archive.delete()
    work(FakeJudge())
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.PLATFORM_FAILED


def test_an_archive_changed_in_storage_is_not_unpacked(evaluation: Evaluation) -> None:
    evaluation.submission.archive.save("archive.zip", ContentFile(zipped(good_files("Another"))))
    judge = FakeJudge()
    work(judge)
    evaluation.refresh_from_db()
    assert (evaluation.state, evaluation.reason, judge.calls) == (Evaluation.State.PLATFORM_FAILED, "storage", 0)


def test_an_archive_over_todays_limits_fails_with_the_reason(evaluation: Evaluation, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_UPLOAD_BYTES = 10
    work(FakeJudge())
    evaluation.refresh_from_db()
    assert (evaluation.state, evaluation.reason) == (Evaluation.State.SUBMISSION_FAILED, "manifest")
    assert "large" in evaluation.detail


def test_a_cancelled_evaluation_stops_its_worker_and_leaves_no_verdict(evaluation: Evaluation) -> None:
    def cancel_meanwhile(request: Request) -> None:
        cancel(evaluation=evaluation)

    began = time.monotonic()
    assert work_once(judge=FakeJudge(seconds=30, plan=[cancel_meanwhile]))
    assert time.monotonic() - began < 15
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.CANCELLED
    assert not work_once(judge=FakeJudge())


def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(evaluation: Evaluation) -> None:
    def lose(request: Request) -> None:
        Shard.objects.filter(start=(request.shard or (0, 0))[0]).update(lease_owner="another", lease_number=7, log="theirs")

    began = time.monotonic()
    work_once(judge=FakeJudge(seconds=30, plan=[lose]))
    assert time.monotonic() - began < 15
    shard = evaluation.shards.get(index=0)
    assert (shard.state, shard.lease_owner, shard.log, shard.outcome) == (Shard.State.LEASED, "another", "theirs", None)


def test_a_worker_asked_to_stop_gives_its_shard_back(evaluation: Evaluation) -> None:
    stop = threading.Event()
    work_once(judge=FakeJudge(seconds=30, plan=[lambda request: stop.set()]), stop=stop)
    shard = evaluation.shards.get(index=0)
    assert (shard.state, shard.attempts, shard.progress) == (Shard.State.QUEUED, 0, None)


def test_a_long_shard_renews_its_lease(evaluation: Evaluation, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_LEASE_SECONDS, settings.REDOUBT_PROGRESS_SECONDS = 0.5, 0.1
    returned: list[int] = []
    watching = threading.Timer(0.9, lambda: returned.append(leases.return_expired()))
    watching.start()
    work_once(judge=FakeJudge(seconds=1.2))
    watching.join()
    assert returned == [0]
    assert evaluation.shards.get(index=0).state == Shard.State.DONE


def test_the_submissions_output_is_kept_bounded_and_as_text(evaluation: Evaluation, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_LOG_BYTES = 20
    evaluation.shards.exclude(index=0).delete()
    judge = FakeJudge()
    judge.evaluate = lambda request, listener: (listener.on_log(b"\0\xff" + b"x" * 100), SubmissionFailed("load", "no"))[1]  # type: ignore[method-assign, assignment, misc]
    work_once(judge=judge)
    assert log_text(evaluation) == "\ufffd\ufffd" + "x" * 18


def test_a_verdict_is_written_once_however_often_it_is_settled(evaluation: Evaluation) -> None:
    work(FakeJudge())
    assert not finishing.settle(evaluation.key)
    assert not finishing.conclude(evaluation.key, PlatformFailed("late", "late"))
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED


def test_the_sweep_finishes_what_a_worker_that_died_after_its_last_shard_left(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as died:
        died.setattr(finishing, "settle", lambda *args, **kwargs: False)
        work(FakeJudge())
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.RUNNING
    sweep()
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED


def test_a_reevaluation_replaces_the_verdict_and_stays_in_the_history(evaluation: Evaluation) -> None:
    work(FakeJudge())
    again = enqueue(submission=evaluation.submission)
    work(FakeJudge())
    assert current(evaluation.submission) == again
    assert again.seed != evaluation.seed
    assert [event.cause for event in history(evaluation.submission)] == ["entered", "re-evaluated"]


def test_a_worker_outlives_an_error_of_its_own(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, calls = threading.Event(), []

    def fail_once(line: object, **options: object) -> bool:
        calls.append(options)
        if len(calls) == 1:
            raise OSError("No space left on device")
        stop.set()
        return False

    monkeypatch.setattr(worker, "work_once", fail_once)
    monkeypatch.setattr(worker, "_AFTER_ERROR_SECONDS", 0.01)
    work_forever(stop, judge=FakeJudge())
    assert len(calls) > 1


def test_working_forever_works_off_the_queue_and_stops_when_asked(evaluation: Evaluation) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=work_forever, args=(stop,), kwargs={"judge": FakeJudge()})
    thread.start()
    for _ in range(200):
        evaluation.refresh_from_db()
        if evaluation.is_finished:
            break
        stop.wait(0.05)
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert evaluation.state == Evaluation.State.COMPLETED


def test_a_merge_that_no_machine_can_do_ends_as_the_platforms_failure_and_is_tried_until_then(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise OSError("No space left on device")

    monkeypatch.setattr(OfficialJudge, "merge", full)
    with contextlib.suppress(OSError):
        while work_once(judge=FakeJudge()):
            pass
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.RUNNING
    with pytest.raises(OSError, match="No space"):
        finishing.settle(evaluation.key)
    Shard.objects.update(finished=Now() - timedelta(hours=2))
    assert finishing.settle(evaluation.key)
    evaluation.refresh_from_db()
    assert (evaluation.state, evaluation.reason) == (Evaluation.State.PLATFORM_FAILED, "merge")
    assert "No space left" in evaluation.detail


def test_a_verdict_of_a_worker_that_judges_in_another_way_than_the_publisher_stands_under_other_rules(
    evaluation: Evaluation,
) -> None:
    class Newer(FakeJudge):
        def _report(self, request: Request) -> Report:
            report = super()._report(request)
            return report.model_copy(update={"environment": report.environment.model_copy(update={"judging": JUDGING + 1})})

    published = evaluation.rules_digest
    while work_once(judge=Newer()):
        pass
    evaluation.refresh_from_db()
    assert evaluation.state == Evaluation.State.COMPLETED
    assert evaluation.rules_digest != published
    assert not board(evaluation.submission.challenge).ranked
