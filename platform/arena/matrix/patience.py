"""How long workers wait for an attack: one that hangs is played last, then no more, and nobody else waits for it."""

from __future__ import annotations

from django.db.models import QuerySet, Sum

from arena.jobs import services as jobs
from arena.jobs.lines import LAST
from arena.jobs.models import Shard
from arena.matrix.models import Cell, FirstLook
from arena.submissions.models import Submission
from evaluator.records.report import SubmissionReason

_TIMEOUTS = 2  # defenses on which an attack may run out of time, having finished none, before the rest is not played
_NOT_PLAYED = "not played"


def given_up(attack: Submission) -> bool:
    """Whether the attack hangs: it ran out of time on several defenses and finished on none.

    One that finished somewhere is only moved back: a defense that answers slowly must not end the attacks of others.
    """
    return _timeouts(attack) >= _TIMEOUTS and not _cells(attack).filter(state=Cell.State.COMPLETED).exists()


def waits_last(attack: Submission) -> bool:
    """Whether the attack is played when nothing else waits: it ran out of time, or used more than its budget of seconds."""
    slow = FirstLook.objects.filter(submission=attack, reason=SubmissionReason.TIMEOUT).exists()
    return slow or _timeouts(attack) > 0 or seconds_used(attack) > attack.challenge.spec.limits.attack_seconds


def seconds_used(attack: Submission) -> float:
    """Seconds of workers that the attack has used on all defenses under today's rules."""
    played = Shard.objects.filter(trial__in=_cells(attack).values("key")).order_by()
    return played.aggregate(used=Sum("seconds"))["used"] or 0.0


def weigh(attack: Submission) -> None:
    """After one of its cells: moves the attack's others to the end of the line, or ends them. Call in that transaction."""
    waiting = _cells(attack).filter(state__in=Cell.UNFINISHED)
    if given_up(attack):
        detail = f"Not played: the attack ran out of time on {_TIMEOUTS} other defenses, and finished on none."
        jobs.cancel(waiting, state=Cell.State.ATTACK_FAILED, reason=_NOT_PLAYED, detail=detail)
    elif waits_last(attack):
        jobs.prioritise(waiting, priority=LAST)


def _timeouts(attack: Submission) -> int:
    return _cells(attack).filter(state=Cell.State.ATTACK_FAILED, reason=SubmissionReason.TIMEOUT).count()


def _cells(attack: Submission) -> QuerySet[Cell]:
    return Cell.objects.filter(attack=attack, kind=Cell.Kind.PLAY, rules_digest=attack.challenge.rules_digest)
