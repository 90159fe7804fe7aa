"""The sweep: finds what crashes and lost messages left behind. Any number of workers may run it at any time."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from arena.evaluations import claims, finishing
from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.services import hint
from arena.matrix.sweeping import sweep as sweep_matrix

HINT_AGAIN = timedelta(minutes=5)


def sweep(*, merge: finishing.Merge) -> None:
    """Returns expired leases, finishes evaluations whose last worker died before it could, and repeats lost messages."""
    claims.reap()
    undone = Shard.objects.filter(evaluation=OuterRef("pk")).exclude(state=Shard.State.DONE)
    failed = Shard.objects.filter(evaluation=OuterRef("pk"), outcome__kind__in=["submission_failed", "platform_failed"])
    left = Evaluation.objects.filter(~Exists(undone) | Exists(failed), state__in=Evaluation.UNFINISHED)
    for evaluation_id in left.values_list("pk", flat=True):
        finishing.settle(evaluation_id, merge=merge)
    sweep_matrix()
    if settings.REDOUBT_QUEUE == "celery":
        _hint_again()


def _hint_again() -> None:
    now = timezone.now()
    stale = Q(hinted=None) | Q(hinted__lt=now - HINT_AGAIN)
    waiting = Shard.objects.filter(
        stale, state=Shard.State.QUEUED, not_before__lte=now, evaluation__state__in=Evaluation.UNFINISHED
    )
    for evaluation_id in waiting.order_by().values_list("evaluation_id", flat=True).distinct():
        hint(evaluation_id=evaluation_id)
