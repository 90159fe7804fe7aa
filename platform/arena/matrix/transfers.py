"""What the official ensemble found on one defense, replayed on the others: a new one faces it before its own search.

Inputs that broke one model often break another, and asking costs one row each.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F, QuerySet

from arena.challenges.services import bump
from arena.evaluations.models import Evaluation
from arena.jobs.models import Trial
from arena.jobs.queueing import hint
from arena.jobs.services import cut
from arena.matrix import priorities
from arena.matrix.models import Cell, Survival
from arena.rankings.bits import overlap
from arena.submissions.seeds import seed_of

FIRST = 8  # defenses whose inputs are replayed before the search; those of others, on what then still stands


def greet(evaluation: Evaluation) -> int:
    """Queues what a defense faces before its own search; how many cells were made. Call in the transaction that queues it.

    Its team's other defenses come first, of which it may be a child, and then the most robust ones, since what breaks those
    breaks others too.
    """
    submission = evaluation.submission
    known = _found(evaluation).order_by(F("evaluation__robust_accuracy").desc(), "pk")
    nearest = sorted(known, key=lambda origin: origin.evaluation.submission.team_id != submission.team_id)
    made = _queue((evaluation, origin) for origin in nearest[:FIRST])
    replays = Cell.objects.filter(defense=submission, kind=Cell.Kind.TRANSFER, state__in=Cell.UNFINISHED)
    Trial.objects.filter(pk__in=list(replays.values_list("key", flat=True))).update(before=evaluation)
    return made


def spread(evaluation: Evaluation) -> int:
    """Queues, after a verdict, its inputs on the others and theirs on it, where an example that still stands has one.

    Idempotent; how many cells were made.
    """
    own = Survival.objects.select_related("evaluation__submission", "archive").get(evaluation=evaluation)
    pairs = []
    for other in _standing(evaluation).filter(evaluation__submission__withdrawn=None):
        if own.held is not None and overlap(bytes(own.held), bytes(other.robust)):
            pairs.append((other.evaluation, own))
    for origin in _found(evaluation):
        if overlap(bytes(origin.held or b""), bytes(own.robust)):
            pairs.append((own.evaluation, origin))
    return _queue(pairs)


def _standing(evaluation: Evaluation) -> QuerySet[Survival]:
    """What is known of the challenge's other defenses under the same rules."""
    submission = evaluation.submission
    return (
        Survival.objects.filter(
            evaluation__submission__challenge=submission.challenge_id,
            evaluation__current=True,
            evaluation__rules_digest=evaluation.rules_digest,
        )
        .exclude(evaluation__submission=submission)
        .select_related("evaluation__submission", "archive")
    )


def _found(evaluation: Evaluation) -> QuerySet[Survival]:
    """Those of which inputs are kept; a withdrawn entry's were verified all the same."""
    return _standing(evaluation).exclude(archive=None)


def _queue(pairs: Iterable[tuple[Evaluation, Survival]]) -> int:
    """One cell for each defense and the other one whose inputs it is to face, unless it is there."""
    asked, made = list(pairs), 0
    cells = Cell.objects.filter(kind=Cell.Kind.TRANSFER, defense__in={evaluation.submission_id for evaluation, _ in asked})
    known = set(cells.values_list("defense_id", "attack_id", "rules_digest"))
    for evaluation, origin in asked:
        found = origin.evaluation
        if (evaluation.submission_id, found.submission_id, evaluation.rules_digest) in known:
            continue
        later = max((evaluation, found), key=lambda each: each.created)
        values = {
            "judge": Cell.Kind.TRANSFER,
            "challenge_id": evaluation.submission.challenge_id,
            "evaluation": evaluation,
            "team_id": later.submission.team_id,
            "examples": evaluation.examples,
            "source": origin.archive,
            "seed": seed_of(found.submission, evaluation.submission, what=Cell.Kind.TRANSFER),
            "priority": priorities.urgency(priorities.REPLAY, 0),
        }
        with transaction.atomic():
            cell, new = Cell.objects.get_or_create(
                defense=evaluation.submission,
                attack=found.submission,
                kind=Cell.Kind.TRANSFER,
                rules_digest=evaluation.rules_digest,
                defaults=values,
            )
            if new:
                cut(cell, examples=cell.examples, step=cell.examples)
                made += 1
    if made:
        bump(asked[0][0].submission.challenge_id)
        transaction.on_commit(hint, robust=True)
    return made
