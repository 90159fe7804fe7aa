"""Reads of cells, first looks and falls."""

from __future__ import annotations

from django.db.models import F, Q, QuerySet, Sum

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell, Fall, FirstLook
from arena.rankings.attacks import accuracy_left
from arena.submissions.models import Submission


def played(challenge: Challenge) -> QuerySet[Cell]:
    """The cells of the matrix, replays left out: what each attack itself did."""
    return Cell.objects.filter(challenge=challenge, rules_digest=challenge.rules_digest, kind=Cell.Kind.PLAY)


def falls_of(challenge: Challenge, *, last: int = 100) -> list[Fall]:
    """The newest falls, newest first; those of entries that failed are left out."""
    judged = (Evaluation.State.COMPLETED, *Evaluation.UNFINISHED)
    found = Fall.objects.filter(challenge=challenge, evaluation__state__in=judged).select_related(
        "defense__team", "attack__team", "cell", "evaluation"
    )
    return list(found.defer("evaluation__report", "evaluation__pack").order_by("-at", "-pk")[:last])


def look_at(attack: Submission) -> FirstLook:
    """The first look at an attack. Raises FirstLook.DoesNotExist."""
    return FirstLook.objects.select_related("target", "submission__team", "submission__challenge").get(submission=attack)


def cells_of(attack: Submission) -> list[Cell]:
    """What an attack plays under today's rules, by defense; replays too."""
    found = Cell.objects.filter(attack=attack, rules_digest=attack.challenge.rules_digest).defer(
        "breaks", "distances", "report", "evaluation__report", "evaluation__pack"
    )
    return list(found.select_related("defense__team", "evaluation", "fall").order_by("left", "created", "pk"))


def with_looks(entries: QuerySet[Submission]) -> QuerySet[Submission]:
    """The same entries, with the first look at each attack and `felled`: how many examples of other teams it broke first."""
    others = ~Q(falls_caused__defense__team=F("team"))
    felled = Sum(F("falls_caused__before") - F("falls_caused__after"), filter=others)
    return entries.select_related("first_look").annotate(felled=felled)


def cell(public_id: str) -> Cell | None:
    """One cell with its two entries; None when there is none of that id."""
    found = Cell.objects.select_related("challenge", "defense__team", "attack__team", "fall", "archive").filter(
        public_id=public_id
    )
    return found.defer("breaks", "distances").first()


def share_left(cell: Cell) -> float | None:
    """The share of examples still right under this cell's attack alone; None for n/a."""
    return accuracy_left(cell.left, cell.examples)
