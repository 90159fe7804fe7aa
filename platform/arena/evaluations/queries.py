"""Reads about evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from arena.evaluations.models import Evaluation, Shard
from arena.evaluations.progress import LiveProgress, ShardProgress, combine
from arena.submissions.models import Submission
from evaluator.report import Progress, Report

_PROGRESS_FIELDS = ("evaluation_id", "start", "stop", "state", "progress")


@dataclass(frozen=True)
class Live:
    """What moves while an evaluation waits or runs. queue_position: 1 is next; None unless it waits."""

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


def report_of(evaluation: Evaluation) -> Report | None:
    """The validated report; None until it is completed."""
    return None if evaluation.report is None else Report.model_validate(evaluation.report)


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
    """Evaluation id -> what moves, for those that wait or run; at most two queries however many there are."""
    now, evaluations = now or timezone.now(), list(evaluations)
    waiting = {item.pk for item in evaluations if item.state == Evaluation.State.QUEUED}
    running = {item.pk: item for item in evaluations if item.state == Evaluation.State.RUNNING}
    found: dict[int, Live] = {}
    if waiting:
        queue = Evaluation.objects.filter(state=Evaluation.State.QUEUED).order_by("created", "pk").values_list("pk", flat=True)
        found |= {pk: Live(queue_position=place, progress=None) for place, pk in enumerate(queue, 1) if pk in waiting}
    if running:
        shards: dict[int, list[ShardProgress]] = {pk: [] for pk in running}
        rows = Shard.objects.filter(evaluation__in=running).order_by("evaluation_id", "index").only(*_PROGRESS_FIELDS)
        for shard in rows:
            shards[shard.evaluation_id].append(_shard_progress(shard))
        for pk, item in running.items():
            elapsed = (now - (item.started or now)).total_seconds()
            found[pk] = Live(queue_position=None, progress=combine(shards[pk], elapsed=elapsed))
    return found


def _shard_progress(shard: Shard) -> ShardProgress:
    return ShardProgress(
        examples=shard.stop - shard.start,
        done=shard.state == Shard.State.DONE,
        claimed=shard.state == Shard.State.CLAIMED,
        progress=Progress(**shard.progress) if shard.progress else None,
    )
