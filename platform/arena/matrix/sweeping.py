"""Finds what crashes and lost messages left behind in the matrix. Any number of workers may run it at any time."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone

from arena.challenges.queries import published
from arena.evaluations import leases
from arena.matrix import finishing, transfers
from arena.matrix.models import Cell, CellShard, Survival, Trial
from arena.matrix.services import fill, hint

HINT_AGAIN = timedelta(minutes=5)
RECENT = timedelta(minutes=1)  # two verdicts written at the same moment do not see each other


def sweep() -> None:
    """Returns expired leases, settles what nobody settled, and makes the cells that nobody made."""
    leases.reap(CellShard)
    leases.reap(Trial)
    for trial_id in Trial.objects.filter(state=Trial.State.DONE, verdict="").values_list("pk", flat=True):
        finishing.settle_trial(trial_id)
    undone = CellShard.objects.filter(cell=OuterRef("pk")).exclude(state=CellShard.State.DONE)
    failed = ["attack_failed", "defense_failed", "platform_failed"]
    broken = CellShard.objects.filter(cell=OuterRef("pk"), outcome__kind__in=failed)
    left = Cell.objects.filter(~Exists(undone) | Exists(broken), state__in=Cell.UNFINISHED)
    for cell_id in left.values_list("pk", flat=True):
        finishing.settle_cell(cell_id)
    for challenge in published().filter(submissions__trial__verdict=Trial.Verdict.ACCEPTED).distinct():
        fill(challenge)
    lately = timezone.now() - RECENT
    for survival in Survival.objects.filter(evaluation__current=True, evaluation__finished__gt=lately):
        transfers.spread(survival.evaluation)
    if settings.REDOUBT_QUEUE == "celery":
        stale = CellShard.objects.filter(state=CellShard.State.QUEUED, hinted__lt=timezone.now() - HINT_AGAIN)
        stale.update(hinted=None)
        hint()
