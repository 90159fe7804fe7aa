"""Who works on which cell or trial: fair among teams, and within a team what moves a rank first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Now

from arena.challenges.services import bump
from arena.evaluations import leases
from arena.evaluations.leases import Leased
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell, CellShard, Trial
from arena.matrix.priorities import Load, fair_order

_CANDIDATES = 16
_REMEMBERED = timedelta(hours=1)


@dataclass(frozen=True)
class CellLease(leases.Lease):
    """The right to work on a shard of a cell."""

    table: ClassVar[type[Leased]] = CellShard

    cell_id: int

    def entries(self) -> frozenset[int]:
        return frozenset(Cell.objects.values_list("attack", "defense").get(pk=self.cell_id))

    def wanted(self) -> bool:
        return Cell.objects.filter(pk=self.cell_id, state__in=Cell.UNFINISHED).exists()


@dataclass(frozen=True)
class TrialLease(leases.Lease):
    """The right to take the first look at an attack."""

    table: ClassVar[type[Leased]] = Trial

    def entries(self) -> frozenset[int]:
        return frozenset(Trial.objects.values_list("submission", "target").get(pk=self.task_id))

    def wanted(self) -> bool:
        return Trial.objects.filter(pk=self.task_id, verdict="").exists()


def claimable_trials(without: frozenset[int] = frozenset()) -> QuerySet[Trial]:
    """The trials that could be looked at now. without: not those of these challenges."""
    waiting = Trial.objects.filter(state=Trial.State.QUEUED, not_before__lte=Now(), verdict="")
    return waiting.exclude(submission__challenge__in=without) if without else waiting


def claimable_shards(without: frozenset[int] = frozenset()) -> QuerySet[CellShard]:
    """The shards of cells that could be played now. without: not those of these challenges."""
    waiting = CellShard.objects.filter(
        state=CellShard.State.QUEUED, not_before__lte=Now(), cell__state__in=Cell.UNFINISHED
    )  # fmt: skip
    return waiting.exclude(cell__challenge__in=without) if without else waiting


def claim_trial(
    *, owner: str, trial_id: int | None = None, without: frozenset[int] = frozenset()
) -> TrialLease | None:  # fmt: skip
    """Claims the oldest waiting trial, or only `trial_id`."""
    waiting = claimable_trials(without)
    if trial_id is not None:
        waiting = waiting.filter(pk=trial_id)
    for pk, challenge, claims in waiting.order_by("pk").values_list("pk", "submission__challenge_id", "claims")[:_CANDIDATES]:
        lease = TrialLease(pk, challenge, owner, claims + 1)
        if leases.take(lease):
            bump(challenge)
            return lease
    return None


def claim_cell(
    *, owner: str, challenge_id: int | None = None, without: frozenset[int] = frozenset()
) -> CellLease | None:  # fmt: skip
    """Claims the next waiting shard: of the team served least, and there of the most urgent cell.

    challenge_id: of this challenge only. without: of none of these.
    """
    waiting = claimable_shards(without)
    if challenge_id is not None:
        waiting = waiting.filter(cell__challenge=challenge_id)
    for team in fair_order(_loads(set(waiting.order_by().values_list("cell__team_id", flat=True).distinct()))):
        first = waiting.filter(cell__team_id=team).order_by("cell__priority", "cell__created", "cell_id", "index")
        if (lease := _claim_first(first, owner)) is not None:
            return lease
    return None


def claim_greeting(
    *, owner: str, evaluation_id: int | None = None, without: frozenset[int] = frozenset()
) -> CellLease | None:  # fmt: skip
    """Claims a replay that the search of a waiting evaluation stands behind, the oldest evaluation's first.

    evaluation_id: of this evaluation only. without: of none of these challenges.
    """
    waits = Evaluation.objects.filter(submission=OuterRef("cell__defense"), state__in=Evaluation.UNFINISHED)
    if evaluation_id is not None:
        waits = waits.filter(pk=evaluation_id)
    waiting = claimable_shards(without).filter(Exists(waits), cell__kind=Cell.Kind.TRANSFER)
    return _claim_first(waiting.order_by("cell__defense_id", "cell_id"), owner)


def _claim_first(waiting: QuerySet[CellShard], owner: str) -> CellLease | None:
    """The first of these shards that can be had."""
    columns = ("pk", "cell_id", "cell__challenge_id", "claims")
    for pk, cell_id, challenge, claims in waiting.values_list(*columns)[:_CANDIDATES]:
        lease = CellLease(pk, challenge, owner, claims + 1, cell_id)
        if _take(lease):
            return lease
    return None


def _loads(teams: set[int]) -> list[Load]:
    recent = Q(state=CellShard.State.CLAIMED) | Q(finished__gt=Now() - _REMEMBERED)
    rows = (
        CellShard.objects.filter(recent, cell__team__in=teams)
        .order_by()
        .values_list("cell__team_id")
        .annotate(running=Count("pk", filter=Q(state=CellShard.State.CLAIMED)), served=Sum("seconds"))
    )
    known = {team: Load(team, running, served or 0.0) for team, running, served in rows}
    return [known.get(team, Load(team, 0, 0.0)) for team in teams]


def _take(lease: CellLease) -> bool:
    with transaction.atomic():
        if not leases.take(lease):
            return False
        Cell.objects.filter(pk=lease.cell_id, state=Cell.State.QUEUED).update(
            state=Cell.State.RUNNING, started=Coalesce("started", Now())
        )
        bump(lease.challenge_id)
    return True
