"""The end of an evaluation: its shards' outcomes become one verdict, once, whoever gets there first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction

from arena.challenges.services import bump
from arena.evaluations.leases import database_now
from arena.evaluations.models import Evaluation, Shard
from arena.leaderboards.services import record_certificate, record_standing
from arena.matrix import survival, transfers
from arena.matrix.services import fill
from arena.running import outcomes
from evaluator.records.receipt import load_key, sign
from evaluator.records.report import Completed, Outcome, PlatformFailed, Report, SubmissionFailed

logger = logging.getLogger(__name__)
Merge = Callable[[Sequence[Outcome]], Outcome]


def settle(evaluation_id: int, *, merge: Merge) -> bool:
    """Finishes the evaluation when its shards allow it: all are done, or one of them has failed.

    Safe to call at any time, by several workers at once, and again after a crash. True when this call finished it.
    """
    shards = list(Shard.objects.filter(evaluation=evaluation_id).order_by("index").only("state", "outcome", "inputs"))
    done = [outcomes.load(shard.outcome, shard.inputs) for shard in shards if shard.outcome is not None]
    failed = [outcome for outcome in done if not isinstance(outcome, Completed)]
    if failed:
        return conclude(evaluation_id, failed[0])
    if len(done) < len(shards):
        return False
    try:
        merged = merge(done)
    except (OSError, MemoryError):
        raise  # this machine's trouble: the sweep of another one finishes the evaluation
    except Exception as error:  # our code, not the submission's: its shards fit together or the platform has failed
        logger.exception("merging the shards of evaluation %d failed", evaluation_id)
        merged = PlatformFailed("merge", f"{type(error).__name__}: {error}")
    return conclude(evaluation_id, merged)


def conclude(evaluation_id: int, outcome: Outcome) -> bool:
    """Writes the verdict unless there is one already; a completed one is signed and enters the history."""
    report = None
    if isinstance(outcome, Completed):
        report = sign(outcome.report, load_key(Path(settings.REDOUBT_SIGNING_KEY)))
    with transaction.atomic():
        evaluation = Evaluation.objects.defer("report").select_related("submission__challenge").get(pk=evaluation_id)
        survival.lock(evaluation.submission_id)
        unfinished = Evaluation.objects.filter(pk=evaluation_id, state__in=Evaluation.UNFINISHED)
        now = database_now()
        if report is not None:
            finished = unfinished.update(state=Evaluation.State.COMPLETED, finished=now, **_scores(report))
        else:
            assert isinstance(outcome, SubmissionFailed | PlatformFailed)
            ours = isinstance(outcome, PlatformFailed)
            state = Evaluation.State.PLATFORM_FAILED if ours else Evaluation.State.SUBMISSION_FAILED
            finished = unfinished.update(state=state, finished=now, reason=outcome.reason, detail=outcome.detail)
        if not finished:
            return False
        Shard.objects.filter(evaluation=evaluation_id).update(outcome=None, inputs=None)  # report and archive have it all
        if report is not None:
            assert isinstance(outcome, Completed)
            left = survival.open_survival(evaluation, report, outcome.adversarial)
            transfers.spread(evaluation)
            record_standing(evaluation=evaluation, robust_accuracy=left, at=now)
            record_certificate(evaluation=evaluation, record=report.certificate)
            transaction.on_commit(lambda: fill(evaluation.submission.challenge), robust=True)
        bump(evaluation.submission.challenge_id)
    logger.info("evaluation %s: %s", evaluation.public_id, type(outcome).__name__)
    return True


def _scores(report: Report) -> dict[str, object]:
    """The columns that boards read, from the report."""
    return {
        "report": report.model_dump(mode="json"),
        "examples": report.examples,
        "clean_accuracy": report.clean_accuracy,
        "robust_accuracy": report.robust_accuracy,
        "interval_low": report.robust_interval[0],
        "interval_high": report.robust_interval[1],
        "certified_accuracy": report.certified_accuracy,
        "verified": report.verified,
        "flags": [flag.model_dump(mode="json") for flag in report.flags],
        "forward_rows": report.forward_rows,
        "backward_rows": report.backward_rows,
        "seconds": report.seconds,
    }
