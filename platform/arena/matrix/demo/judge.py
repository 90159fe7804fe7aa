"""The season's judge: the official evaluation with a short ensemble, whose gaps attacks can find."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arena.evaluations.judging import Task, configured_sandbox
from arena.evaluations.runner import Request, merge, run_defense
from evaluator.attacks import FGSM, PGD
from evaluator.ensembles import Sequence as Stages
from evaluator.ensembles import Stage
from evaluator.report import Outcome, Progress

SHORT = Stages("short", (Stage("FGSM", FGSM()), Stage("PGD-10, cross-entropy", PGD(steps=10))))


class ShortJudge:
    """An `arena.evaluations.judging.Judge`."""

    def run(
        self,
        task: Task,
        *,
        on_progress: Callable[[Progress], None],
        on_log: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        request = Request(task.pack, task.folder, task.seed, shard=task.shard, ensemble=SHORT)
        return run_defense(request, sandbox=configured_sandbox(), on_progress=on_progress, on_log=on_log, cancelled=cancelled)

    def merge(self, shards: Sequence[Outcome], /) -> Outcome:
        return merge(shards)
