"""Queueing and cancelling evaluations, and what a defense stands at."""

from __future__ import annotations

from django.db import transaction

from arena.challenges.services import bump
from arena.evaluations import events
from arena.evaluations.models import Evaluation
from arena.jobs import services as jobs
from arena.jobs.queueing import hint
from arena.submissions.models import Submission
from arena.submissions.seeds import seed_of
from evaluator.errors import InputError
from evaluator.records.intervals import clopper_pearson


def enqueue(*, submission: Submission) -> Evaluation:
    """Queues an evaluation that from now on stands for the submission; an unfinished earlier one is cancelled."""
    challenge = submission.challenge
    pack = challenge.pack
    examples = pack.challenge.data.examples
    with transaction.atomic():
        jobs.cancel(Evaluation.objects.filter(submission=submission, current=True))
        Evaluation.objects.filter(submission=submission, current=True).update(current=False)
        # A verdict's seed is known to all; what never came to a verdict is judged under the seed that it had.
        verdicts = Evaluation.objects.filter(submission=submission, state=Evaluation.State.COMPLETED).count()
        evaluation = Evaluation.objects.create(
            judge=Evaluation.JUDGE,
            challenge=challenge,
            team_id=submission.team_id,
            submission=submission,
            pack=pack.model_dump(mode="json"),
            rules_digest=challenge.rules_digest,
            seed=seed_of(submission, what=f"evaluation {verdicts}"),
            examples=examples,
        )
        jobs.cut(evaluation, examples=examples, step=pack.challenge.evaluation.shard_examples)
        events.queued.send(sender=Evaluation, evaluation=evaluation)
        bump(challenge.pk)
        transaction.on_commit(lambda: hint(trial_id=evaluation.key), robust=True)
    return evaluation


def cancel(*, evaluation: Evaluation) -> bool:
    """Cancels an evaluation that waits or runs; workers notice within a heartbeat. False when it was finished already."""
    return jobs.cancel([evaluation]) > 0


def ask_to_cancel(*, evaluation: Evaluation) -> None:
    """`cancel` for a person. Raises InputError when there is nothing left to cancel."""
    if not cancel(evaluation=evaluation):
        raise InputError(
            "This evaluation is finished already.", where="evaluation", help="Only a waiting or running one can stop."
        )


def stand(evaluation_id: int, *, robust: int, examples: int) -> float:
    """Writes what a defense stands at, in all places that boards read, and returns it: the only writer of robust accuracy.

    robust: examples that withstood everything anybody found. The signed report stays what the ensemble found.
    """
    low, high = clopper_pearson(robust, examples)
    Evaluation.objects.filter(pk=evaluation_id).update(robust_accuracy=robust / examples, interval_low=low, interval_high=high)
    return robust / examples
