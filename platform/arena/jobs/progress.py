"""One progress for a whole evaluation from those of its shards: pure functions, no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.records.report import Progress


@dataclass(frozen=True)
class ShardProgress:
    """How far one shard is. progress: its last one, None before the first."""

    examples: int
    done: bool
    leased: bool
    progress: Progress | None


@dataclass(frozen=True)
class LiveProgress:
    """How far an evaluation is, as boards show it.

    stage, attack: of the shard that is furthest behind among those running. survivors: examples not broken so far
    (examples of shards that have not begun count as surviving). share: done/total in [0, 1].
    """

    stage: str
    attack: str
    done: int
    total: int
    survivors: int
    seconds_left: float | None
    shards_done: int
    shards: int

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 0.0


def combine(shards: Sequence[ShardProgress], *, elapsed: float) -> LiveProgress:
    """The progress of the evaluation made of `shards` (in order). elapsed: seconds since the evaluation started."""
    total = sum(shard.examples for shard in shards)
    done = sum(_done(shard) for shard in shards)
    running = [shard for shard in shards if shard.leased and shard.progress]
    behind = min(running, key=_done).progress if running else None
    return LiveProgress(
        stage=behind.stage if behind else "starting",
        attack=behind.attack if behind else "",
        done=done,
        total=total,
        survivors=sum(shard.progress.survivors if shard.progress else shard.examples for shard in shards),
        seconds_left=_seconds_left(shards, done=done, total=total, elapsed=elapsed),
        shards_done=sum(shard.done for shard in shards),
        shards=len(shards),
    )


def _done(shard: ShardProgress) -> int:
    if shard.done:
        return shard.examples
    return shard.progress.done if shard.progress else 0


def _seconds_left(shards: Sequence[ShardProgress], *, done: int, total: int, elapsed: float) -> float | None:
    """A single shard's own estimate; with several, the rate so far carried on."""
    if len(shards) == 1:
        progress = shards[0].progress
        return progress.seconds_left if progress else None
    return elapsed * (total - done) / done if done and elapsed > 0 else None
