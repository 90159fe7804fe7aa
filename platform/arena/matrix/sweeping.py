"""Finds what crashes and lost messages left behind in the matrix. Any number of workers may run it at any time."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from arena.challenges.queries import published
from arena.evaluations import leases
from arena.evaluations.each import each
from arena.matrix import finishing, transfers
from arena.matrix.models import Cell, CellShard, Survival, Trial
from arena.matrix.services import fill

RECENT = timedelta(minutes=1)  # two verdicts written at the same moment do not see each other


def sweep() -> None:
    """Returns expired leases, settles what nobody settled, and makes the cells that nobody made."""
    leases.reap(CellShard)
    leases.reap(Trial)
    each(Trial.objects.filter(state=Trial.State.DONE, verdict="").values_list("pk", flat=True), finishing.settle_trial)
    undone = CellShard.objects.filter(cell=OuterRef("pk")).exclude(state=CellShard.State.DONE)
    failed = ["attack_failed", "defense_failed", "platform_failed"]
    broken = CellShard.objects.filter(cell=OuterRef("pk"), outcome__kind__in=failed)
    left = Cell.objects.filter(~Exists(undone) | Exists(broken), state__in=Cell.UNFINISHED)
    each(left.values_list("pk", flat=True), finishing.settle_cell)
    each(published().filter(submissions__trial__verdict=Trial.Verdict.ACCEPTED).distinct(), fill)
    lately = Survival.objects.filter(evaluation__current=True, evaluation__finished__gt=Now() - RECENT)
    each(lately, lambda survival: transfers.spread(survival.evaluation))
