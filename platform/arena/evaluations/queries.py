"""Reads about evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.progress import LiveProgress, ShardProgress, combine
from arena.matrix.models import Cell, CellShard, Trial
from arena.submissions.models import Submission
from evaluator.records.report import Progress

_PROGRESS_FIELDS = ("evaluation_id", "start", "stop", "state", "progress")


@dataclass(frozen=True)
class Live:
    """What moves while an evaluation waits or runs. queue_position: 1 is next, see `_places`; None unless it waits."""

    queue_position: int | None
    progress: LiveProgress | None


def summaries() -> QuerySet[Evaluation]:
    """Evaluations with everything but the report, which is large."""
    return Evaluation.objects.defer("report")


def current_of(submission: Submission) -> Evaluation:
    """The evaluation that stands for a submission. Raises Evaluation.DoesNotExist for an entry never evaluated."""
    return Evaluation.objects.select_related("submission__team", "submission__challenge").get(
        submission=submission, current=True
    )


def log_text(evaluation: Evaluation) -> str:
    """The submission's own output so far, shard by shard. Untrusted text: show it escaped."""
    logs = list(evaluation.shards.exclude(log="").order_by("index").values_list("start", "stop", "log"))
    if len(logs) == 1:
        return logs[0][2]
    return "\n".join(f"[examples {start} to {stop - 1}]\n{log.rstrip()}" for start, stop, log in logs)


def live(evaluation: Evaluation) -> Live:
    """Queue position or progress of one evaluation."""
    return live_of([evaluation]).get(evaluation.pk, Live(queue_position=None, progress=None))


def live_of(evaluations: Iterable[Evaluation], *, now: datetime | None = None) -> dict[int, Live]:
    """Evaluation id -> what moves, for those that wait or run; at most four queries however many there are."""
    now, evaluations = now or timezone.now(), list(evaluations)
    waiting = {item.pk for item in evaluations if item.state == Evaluation.State.QUEUED}
    running = {item.pk: item for item in evaluations if item.state == Evaluation.State.RUNNING}
    found: dict[int, Live] = {}
    if waiting:
        places = _places(now)
        found |= {pk: Live(queue_position=places[pk], progress=None) for pk in waiting if pk in places}
    if running:
        shards: dict[int, list[ShardProgress]] = {pk: [] for pk in running}
        rows = Shard.objects.filter(evaluation__in=running).order_by("evaluation_id", "index").only(*_PROGRESS_FIELDS)
        for shard in rows:
            shards[shard.evaluation_id].append(_shard_progress(shard))
        for pk, item in running.items():
            elapsed = (now - (item.started or now)).total_seconds()
            found[pk] = Live(queue_position=None, progress=combine(shards[pk], elapsed=elapsed))
    return found


def _places(now: datetime) -> dict[int, int]:
    """Evaluation id -> its place in the order in which workers take work, for all that wait; 1 is what is taken next.

    Before it come first looks at attacks, evaluations that were queued earlier and have shards left to be taken, and any other
    whose replays wait, since those are played before every search. Attacks that play the board take turns with evaluations:
    while they wait, one of them may be next.
    """
    ready = {"state": Shard.State.QUEUED, "not_before__lte": now}
    shards = Shard.objects.filter(evaluation=OuterRef("pk"), **ready)
    replays = CellShard.objects.filter(
        cell__defense=OuterRef("submission"), cell__kind=Cell.Kind.TRANSFER, cell__state__in=Cell.UNFINISHED, **ready
    )
    queue = list(
        Evaluation.objects.filter(state__in=Evaluation.UNFINISHED)
        .order_by("created", "pk")
        .values_list("pk", "state", Exists(shards), Exists(replays))
    )
    others = Trial.objects.filter(verdict="", **ready).count()
    others += CellShard.objects.filter(cell__state__in=Cell.UNFINISHED, **ready).exclude(cell__kind=Cell.Kind.TRANSFER).exists()
    replayed = [pk for pk, _, _, has_replays in queue if has_replays]
    searched = [pk for pk, _, has_shards, has_replays in queue if has_shards and not has_replays]
    places = {pk: 1 + others + ahead for ahead, pk in enumerate([*replayed, *searched])}
    return {pk: place for pk, state, *_ in queue if state == Evaluation.State.QUEUED and (place := places.get(pk))}


def _shard_progress(shard: Shard) -> ShardProgress:
    return ShardProgress(
        examples=shard.stop - shard.start,
        done=shard.state == Shard.State.DONE,
        claimed=shard.state == Shard.State.CLAIMED,
        progress=Progress(**shard.progress) if shard.progress else None,
    )
