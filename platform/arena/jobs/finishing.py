"""The end of a trial: its shards' outcomes become one, exactly once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from arena.challenges.services import bump
from arena.jobs.clock import database_now
from arena.jobs.judges import Judge, judge_named
from arena.jobs.models import Shard, Trial
from arena.jobs.outcomes import Outcome
from arena.jobs.queueing import hint
from evaluator.records.report import PlatformFailed, SubmissionFailed

logger = logging.getLogger(__name__)
_PATIENCE = timedelta(hours=1)  # with machines that cannot merge what others judged


def settle(trial_id: int) -> bool:
    """Finishes the trial when its shards allow it: all are done, or one of them has failed.

    Safe to call at any time, by several workers at once, and again after a crash. True when this call finished it.
    """
    judge = judge_named(Trial.objects.values_list("judge", flat=True).get(pk=trial_id))
    shards = list(Shard.objects.filter(trial=trial_id).order_by("index").only("outcome", "inputs"))
    done = [judge.load(shard) for shard in shards if shard.outcome is not None]
    failed = [outcome for outcome in done if isinstance(outcome, SubmissionFailed | PlatformFailed)]
    if not failed and len(done) < len(shards):
        return False
    return conclude(trial_id, failed[0] if failed else _merged(trial_id, judge, done))


def _merged(trial_id: int, judge: Judge, done: Sequence[Outcome]) -> Outcome:
    try:
        return judge.merge(done)
    except (OSError, MemoryError) as error:
        if not _waited_long(trial_id):
            raise  # this machine's trouble: the sweep of another one finishes the trial
        logger.exception("merging the shards of trial %d is given up", trial_id)
        return PlatformFailed("merge", f"No machine could put its shards together: {type(error).__name__}: {error}")
    except Exception as error:  # our code, not the submission's: its shards fit together or the platform has failed
        logger.exception("merging the shards of trial %d failed", trial_id)
        return PlatformFailed("merge", f"{type(error).__name__}: {error}")


def _waited_long(trial_id: int) -> bool:
    """Whether the last of its shards ended so long ago that no machine will finish the trial."""
    return not Shard.objects.filter(trial=trial_id, finished__gt=Now() - _PATIENCE).exists()


def conclude(trial_id: int, outcome: Outcome) -> bool:
    """Ends the trial unless it has ended already, and has its judge publish what it came to."""
    with transaction.atomic():
        trial = Trial.objects.get(pk=trial_id)
        judge = judge_named(trial.judge)
        judge.lock(trial)
        end, now = judge.end(outcome), database_now()
        unfinished = Trial.objects.filter(pk=trial_id, state__in=Trial.UNFINISHED)
        if not unfinished.update(state=end.state, reason=end.reason, detail=end.detail, finished=now):
            return False
        Shard.objects.filter(trial=trial_id).update(outcome=None, inputs=None)  # what is published has it all
        judge.publish(trial, outcome, now)
        if trial.before_id is not None:
            transaction.on_commit(lambda: hint(trial_id=trial.before_id), robust=True)
        bump(trial.challenge_id)
    logger.info("%s %s: %s %s", trial.judge, trial.public_id, end.state, end.reason)
    return True
