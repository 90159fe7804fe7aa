"""Queueing and cancelling evaluations."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from arena.challenges.services import bump
from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.queueing import WORK, wake
from arena.matrix import transfers
from arena.submissions.models import Submission
from arena.submissions.seeds import seed_of
from evaluator.errors import InputError


def enqueue(*, submission: Submission) -> Evaluation:
    """Queues an evaluation that from now on stands for the submission; an unfinished earlier one is cancelled."""
    challenge = submission.challenge
    pack = challenge.pack
    examples, step = pack.challenge.data.examples, pack.challenge.evaluation.shard_examples
    with transaction.atomic():
        for earlier in Evaluation.objects.filter(submission=submission, current=True):
            cancel(evaluation=earlier)
        Evaluation.objects.filter(submission=submission, current=True).update(current=False)
        # A verdict's seed is known to all; what never came to a verdict is judged under the seed that it had.
        verdicts = Evaluation.objects.filter(submission=submission, state=Evaluation.State.COMPLETED).count()
        evaluation = Evaluation.objects.create(
            submission=submission,
            pack=pack.model_dump(mode="json"),
            rules_digest=challenge.rules_digest,
            seed=seed_of(submission, what=f"evaluation {verdicts}"),
            examples=examples,
        )
        Shard.objects.bulk_create(
            Shard(evaluation=evaluation, index=index, start=start, stop=min(start + step, examples))
            for index, start in enumerate(range(0, examples, step))
        )
        transfers.greet(evaluation)
        bump(challenge.pk)
        transaction.on_commit(lambda: hint(evaluation_id=evaluation.pk), robust=True)
    return evaluation


def cancel(*, evaluation: Evaluation) -> bool:
    """Cancels an evaluation that waits or runs; workers notice within a heartbeat. False when it was finished already."""
    with transaction.atomic():
        cancelled = Evaluation.objects.filter(pk=evaluation.pk, state__in=Evaluation.UNFINISHED).update(
            state=Evaluation.State.CANCELLED, finished=Now()
        )
        if cancelled:
            bump(evaluation.submission.challenge_id)
    return cancelled > 0


def ask_to_cancel(*, evaluation: Evaluation) -> None:
    """`cancel` for a person. Raises InputError when there is nothing left to cancel."""
    if not cancel(evaluation=evaluation):
        raise InputError(
            "This evaluation is finished already.", where="evaluation", help="Only a waiting or running one can stop."
        )


def hint(*, evaluation_id: int) -> None:
    """Wakes a worker for each of an evaluation's waiting shards."""
    wake(WORK, Shard.objects.filter(evaluation=evaluation_id, state=Shard.State.QUEUED).count())
