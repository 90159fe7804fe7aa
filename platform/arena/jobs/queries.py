"""Reads of what waits and what runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef
from django.utils import timezone

from arena.jobs.judges import Line, of_line
from arena.jobs.models import Shard, Trial
from arena.jobs.progress import LiveProgress, ShardProgress, combine
from evaluator.records.report import Progress

_PROGRESS_FIELDS = ("trial_id", "start", "stop", "state", "progress")


@dataclass(frozen=True)
class Live:
    """What moves while a trial waits or runs. queue_position: 1 is next, see `_places`; None unless it waits."""

    queue_position: int | None
    progress: LiveProgress | None


def log_text(trial: Trial) -> str:
    """The entry's own output so far, shard by shard. Untrusted text: show it escaped."""
    logs = list(trial.shards.exclude(log="").order_by("index").values_list("start", "stop", "log"))
    if len(logs) == 1:
        return logs[0][2]
    return "\n".join(f"[examples {start} to {stop - 1}]\n{log.rstrip()}" for start, stop, log in logs)


def live(trial: Trial) -> Live:
    """Queue position or progress of one trial."""
    return live_of([trial]).get(trial.key, Live(queue_position=None, progress=None))


def live_of(trials: Iterable[Trial], *, now: datetime | None = None) -> dict[int, Live]:
    """Trial key -> what moves, for those that wait or run; at most four queries however many there are."""
    now, trials = now or timezone.now(), list(trials)
    waiting = {trial.key for trial in trials if trial.state == Trial.State.QUEUED}
    running = {trial.key: trial for trial in trials if trial.state == Trial.State.RUNNING}
    found: dict[int, Live] = {}
    if waiting:
        places = _places(now)
        found |= {key: Live(queue_position=places[key], progress=None) for key in waiting if key in places}
    if running:
        shards: dict[int, list[ShardProgress]] = {key: [] for key in running}
        for shard in Shard.objects.filter(trial__in=running).order_by("trial_id", "index").only(*_PROGRESS_FIELDS):
            shards[shard.trial_id].append(_shard_progress(shard))
        for key, trial in running.items():
            elapsed = (now - (trial.started or now)).total_seconds()
            found[key] = Live(queue_position=None, progress=combine(shards[key], elapsed=elapsed))
    return found


def _places(now: datetime) -> dict[int, int]:
    """Trial key -> its place in the order in which workers take work, for all that wait for the oldest one; 1 is next.

    Before it come first looks, trials that were queued earlier and have shards left to be taken, and any other that is
    kept waiting by what is to be finished before it. The fair line takes turns with this one: while something waits there,
    it may be next.
    """
    ready = {"state": Shard.State.QUEUED, "not_before__lte": now}
    unfinished = Trial.objects.filter(state__in=Trial.UNFINISHED)
    waiting = Shard.objects.filter(trial__state__in=Trial.UNFINISHED, **ready)
    queue = list(
        unfinished.filter(judge__in=of_line(Line.OLDEST))
        .order_by("created", "pk")
        .values_list(
            "pk",
            "state",
            Exists(waiting.filter(trial=OuterRef("pk"))),
            Exists(waiting.filter(trial__before=OuterRef("pk"))),
        )
    )
    others = waiting.filter(trial__judge__in=of_line(Line.FIRST)).count()
    fair = waiting.filter(trial__judge__in=of_line(Line.FAIR))
    others += fair.exclude(trial__before__state__in=Trial.UNFINISHED).exists()
    held = [key for key, _, _, has_earlier in queue if has_earlier]
    free = [key for key, _, has_shards, has_earlier in queue if has_shards and not has_earlier]
    places = {key: 1 + others + ahead for ahead, key in enumerate([*held, *free])}
    return {key: place for key, state, *_ in queue if state == Trial.State.QUEUED and (place := places.get(key))}


def _shard_progress(shard: Shard) -> ShardProgress:
    return ShardProgress(
        examples=shard.stop - shard.start,
        done=shard.state == Shard.State.DONE,
        leased=shard.state == Shard.State.LEASED,
        progress=Progress(**shard.progress) if shard.progress else None,
    )
