"""Who judges: the official evaluator in a sandbox. Loaded only by workers, since it needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from arena.running.listening import Listener
from arena.running.warm import keep_warm
from evaluator.manifests.spec import Pack
from evaluator.records.report import Outcome, Progress
from sandbox import Sandbox, SandboxError, open_sandbox
from sandbox.none import NoSandbox


@dataclass(frozen=True)
class Task:
    """One shard to judge. folder: the unpacked submission; shard: (start, stop) positions among the ranked examples."""

    pack: Pack
    folder: Path
    seed: int
    shard: tuple[int, int]


class Judge(Protocol):
    """Judges shards and joins their outcomes. `run` returns a typed outcome, or raises Cancelled soon after `cancelled()`."""

    def run(
        self,
        task: Task,
        *,
        on_progress: Callable[[Progress], None],
        on_log: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> Outcome: ...

    def merge(self, shards: Sequence[Outcome], /) -> Outcome: ...


def configured_sandbox() -> Sandbox:
    """The sandbox that settings.REDOUBT_SANDBOX names, or one that refuses all code where there is none."""
    try:
        return open_sandbox(settings.REDOUBT_SANDBOX)
    except SandboxError as error:
        # One that the settings name is awaited; where any would do and there is none, entries with code are refused.
        return NoSandbox(str(error), awaited=settings.REDOUBT_SANDBOX not in (None, "auto"))


class OfficialJudge:
    """The evaluator's runner, with the sandbox that this machine offers and hosts that are started ahead."""

    def __init__(self) -> None:
        keep_warm(settings.REDOUBT_WARM_HOSTS)

    def run(
        self,
        task: Task,
        *,
        on_progress: Callable[[Progress], None],
        on_log: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        from arena.running.defense import Request, run_defense

        return run_defense(
            Request(
                pack=task.pack,
                submission=task.folder,
                seed=task.seed,
                shard=task.shard,
                keep=True,
                device=settings.REDOUBT_DEVICE,
            ),
            sandbox=configured_sandbox(),
            listener=Listener(on_progress, on_log, cancelled),
        )

    def merge(self, shards: Sequence[Outcome], /) -> Outcome:
        from arena.running.merging import merge

        return merge(shards)


@cache
def configured_judge() -> Judge:
    """The judge that settings.REDOUBT_JUDGE names."""
    judge: Judge = import_string(settings.REDOUBT_JUDGE)()
    return judge
