"""Which shard is worked on next: one order for all judges."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Now

from arena.challenges.services import bump
from arena.jobs import leases
from arena.jobs.fairness import Load, fair_order
from arena.jobs.judges import Line, of_line
from arena.jobs.leases import Lease
from arena.jobs.models import Shard, Trial

LAST = 10_000_000  # the priority from which on a trial of the fair line waits behind everybody's others
FREE_SECONDS = 10.0  # of a first trial, for which nobody is charged
_FIRST_SECONDS = 60.0  # of a team's first trials within an hour, before its next ones take their turn in the fair line
_CANDIDATES = 16
_REMEMBERED = timedelta(hours=1)
_OLDEST_FIRST = ("trial__created", "trial_id", "index")


def leasable(*lines: Line, without: frozenset[int] = frozenset()) -> QuerySet[Shard]:
    """The shards of these lines that could be worked on now. without: not those of these challenges.

    What is to be finished before a trial keeps it waiting.
    """
    earlier = Trial.objects.filter(before=OuterRef("trial"), state__in=Trial.UNFINISHED)
    waiting = Shard.objects.filter(
        ~Exists(earlier),
        state=Shard.State.QUEUED,
        not_before__lte=Now(),
        trial__state__in=Trial.UNFINISHED,
        trial__judge__in=of_line(*lines),
    )
    return waiting.exclude(trial__challenge__in=without) if without else waiting


def lease_first(
    line: Line,
    *,
    owner: str,
    only: int | None = None,
    challenge_id: int | None = None,
    without: frozenset[int] = frozenset(),
) -> Lease | None:
    """Leases the shard that is first in this line, or that keeps the first one waiting; None when there is none to be had.

    only: of this trial and what comes before it. challenge_id: of this challenge only. without: of none of these challenges.
    """
    wanted = Q() if only is None else Q(trial=only) | Q(trial__before=only)
    if challenge_id is not None:
        wanted &= Q(trial__challenge=challenge_id)
    costly = Q(trial__judge__in=of_line(Line.FIRST), trial__team__in=_costly_teams())
    if line is Line.FAIR:
        fair = leasable(Line.FAIR, Line.FIRST, without=without).filter(wanted, costly | Q(trial__judge__in=of_line(line)))
        return _fairly(fair.filter(trial__priority__lt=LAST), owner) or _fairly(fair.filter(trial__priority__gte=LAST), owner)
    waiting = leasable(line, without=without).filter(wanted)
    if line is Line.FIRST:
        return _fairly(waiting.exclude(costly), owner)
    if line is Line.OLDEST:
        held = leasable(*Line, without=without).filter(wanted, trial__before__state__in=Trial.UNFINISHED)
        first = held.order_by("trial__before__created", "trial__before", *_OLDEST_FIRST)
        if (lease := _first_of(first, owner)) is not None:
            return lease
    return _first_of(waiting.order_by(*_OLDEST_FIRST), owner)


def _fairly(waiting: QuerySet[Shard], owner: str) -> Lease | None:
    """Of the team served least, and there of the most urgent trial."""
    for team in fair_order(_loads(set(waiting.order_by().values_list("trial__team_id", flat=True).distinct()))):
        first = waiting.filter(trial__team_id=team).order_by("trial__priority", *_OLDEST_FIRST)
        if (lease := _first_of(first, owner)) is not None:
            return lease
    return None


def _costly_teams() -> list[int]:
    """Those whose first trials took long within the last hour: what is meant to be brief holds nobody else up."""
    brief = Shard.objects.filter(finished__gt=Now() - _REMEMBERED, trial__judge__in=of_line(Line.FIRST)).order_by()
    served = brief.values("trial__team").annotate(served=Sum("seconds")).filter(served__gt=_FIRST_SECONDS)
    return list(served.values_list("trial__team", flat=True))


def _loads(teams: set[int]) -> list[Load]:
    recent = Q(state=Shard.State.LEASED) | Q(finished__gt=Now() - _REMEMBERED)
    rows = (
        Shard.objects.filter(recent, trial__team__in=teams, trial__judge__in=of_line(Line.FAIR, Line.FIRST))
        .order_by()
        .values_list("trial__team_id")
        .annotate(running=Count("pk", filter=Q(state=Shard.State.LEASED)), served=Sum("seconds"))
    )
    known = {team: Load(team, running, served or 0.0) for team, running, served in rows}
    return [known.get(team, Load(team, 0, 0.0)) for team in teams]


def _first_of(waiting: QuerySet[Shard], owner: str) -> Lease | None:
    """The first of these shards that can be had."""
    columns = ("pk", "trial_id", "trial__challenge_id", "trial__judge", "lease_number")
    for pk, trial_id, challenge_id, judge, number in waiting.values_list(*columns)[:_CANDIDATES]:
        lease = Lease(pk, trial_id, challenge_id, judge, owner, number + 1)
        if _take(lease):
            return lease
    return None


def _take(lease: Lease) -> bool:
    with transaction.atomic():
        if not leases.take(lease):
            return False
        Trial.objects.filter(pk=lease.trial_id, state=Trial.State.QUEUED).update(
            state=Trial.State.RUNNING, started=Coalesce("started", Now())
        )
        bump(lease.challenge_id)
    return True
