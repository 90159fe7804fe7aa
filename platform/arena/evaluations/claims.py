"""Who works on which shard of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Now

from arena.challenges.services import bump
from arena.evaluations import leases
from arena.evaluations.leases import Leased, give_back, renew, retry_later, write_progress
from arena.evaluations.models import Evaluation, Shard
from arena.matrix.models import Cell
from arena.running import outcomes
from evaluator.records.report import Completed, Outcome

__all__ = ["Lease", "claim", "finish", "give_back", "reap", "renew", "retry_later", "write_progress"]

_CANDIDATES = 16


@dataclass(frozen=True)
class Lease(leases.Lease):
    """The right to work on a shard."""

    table: ClassVar[type[Leased]] = Shard

    evaluation_id: int

    @property
    def shard_id(self) -> int:
        return self.task_id

    def entries(self) -> frozenset[int]:
        return frozenset(Evaluation.objects.filter(pk=self.evaluation_id).values_list("submission", flat=True))

    def wanted(self) -> bool:
        return Evaluation.objects.filter(pk=self.evaluation_id, state__in=Evaluation.UNFINISHED).exists()


def claimable(without: frozenset[int] = frozenset()) -> QuerySet[Shard]:
    """The shards that could be worked on now. without: not those of these challenges."""
    replays = Cell.objects.filter(
        defense=OuterRef("evaluation__submission"), kind=Cell.Kind.TRANSFER, state__in=Cell.UNFINISHED
    )
    waiting = Shard.objects.filter(
        ~Exists(replays),
        state=Shard.State.QUEUED,
        not_before__lte=Now(),
        evaluation__state__in=Evaluation.UNFINISHED,
    )
    return waiting.exclude(evaluation__submission__challenge__in=without) if without else waiting


def claim(*, owner: str, shard_id: int | None = None, without: frozenset[int] = frozenset()) -> Lease | None:
    """Claims the waiting shard that is first in line, or only `shard_id`; None when there is none to be had.

    The oldest evaluation comes first, and its shards in order; but what waits to be replayed on a defense is played before
    its own search. without: none of these challenges.
    """
    waiting = claimable(without).order_by("evaluation__created", "evaluation_id", "index")
    if shard_id is not None:
        waiting = waiting.filter(pk=shard_id)
    columns = ("pk", "evaluation_id", "evaluation__submission__challenge_id", "claims")
    for pk, evaluation_id, challenge_id, claims in waiting.values_list(*columns)[:_CANDIDATES]:
        lease = Lease(pk, challenge_id, owner, claims + 1, evaluation_id)
        if _take(lease):
            return lease
    return None


def _take(lease: Lease) -> bool:
    with transaction.atomic():
        if not leases.take(lease):
            return False
        Evaluation.objects.filter(pk=lease.evaluation_id, state=Evaluation.State.QUEUED).update(
            state=Evaluation.State.RUNNING, started=Coalesce("started", Now())
        )
        bump(lease.challenge_id)
    return True


def finish(lease: Lease, outcome: Outcome, *, log: str) -> bool:
    """Stores the shard's outcome; False, and nothing stored, when the lease is lost."""
    inputs = outcome.adversarial or None if isinstance(outcome, Completed) else None
    return leases.finish(lease, outcomes.dump(outcome), log=log, inputs=inputs)


def reap() -> int:
    """Returns the shards of workers that stopped renewing; how many they were."""
    return leases.reap(Shard)
