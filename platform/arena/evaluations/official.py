"""The official judge: the evaluator's ensemble in a sandbox. Only workers load what needs torch."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from arena.challenges.services import rules_digest
from arena.evaluations import events
from arena.evaluations.models import Evaluation
from arena.jobs import runner
from arena.jobs.judges import Judge, Line
from arena.jobs.models import Shard, Trial
from arena.running.listening import Listener
from arena.running.requests import Request
from arena.submissions.locking import lock
from arena.submissions.unpacking import unpack_submission
from evaluator.errors import SubmissionError
from evaluator.records.receipt import load_key, sign
from evaluator.records.report import Completed, Outcome, Report, SubmissionFailed
from sandbox.scratch import owned_folder


class OfficialJudge(Judge):
    """The official evaluation of a defense: the first column of the matrix."""

    name = Evaluation.JUDGE
    line = Line.OLDEST

    def run(self, shard: Shard, listener: Listener) -> Outcome:
        evaluation = Evaluation.objects.defer("report").select_related("submission").get(trial=shard.trial_id)
        with owned_folder("redoubt-work-") as folder:
            try:
                unpack_submission(evaluation.submission, folder)
            except SubmissionError as error:
                return SubmissionFailed(error.reason, str(error))
            request = Request(evaluation.judged_pack, folder, evaluation.seed, (shard.start, shard.stop))
            return runner.configured().evaluate(request, listener)

    def completed(self, report: Any, inputs: bytes) -> Completed:
        return Completed(Report.model_validate(report), inputs)

    def entries(self, trial_id: int) -> frozenset[int]:
        return frozenset(Evaluation.objects.filter(trial=trial_id).values_list("submission", flat=True))

    def lock(self, trial: Trial) -> None:
        lock(Evaluation.objects.values_list("submission", flat=True).get(trial=trial.key))

    def publish(self, trial: Trial, outcome: Outcome, at: datetime) -> None:
        """Signs the report; what it leaves unbroken is written where all other breaks are known."""
        if not isinstance(outcome, Completed):
            return
        report = sign(outcome.report, load_key(Path(settings.REDOUBT_SIGNING_KEY)))
        pack = Evaluation.objects.only("pack", "trial").get(trial=trial.key).judged_pack
        # Who published the pack need not have judged: a worker of another version does not measure under those rules.
        judged = rules_digest(pack.challenge, judging=report.environment.judging or None)
        Evaluation.objects.filter(trial=trial.key).update(**_scores(report), rules_digest=judged)
        evaluation = Evaluation.objects.defer("report").select_related("submission__challenge").get(trial=trial.key)
        events.judged.send(sender=Evaluation, evaluation=evaluation, report=report, found=outcome.adversarial, at=at)


def _scores(report: Report) -> dict[str, object]:
    """The columns that boards read, from the report; robust accuracy is written by `arena.evaluations.services.stand`."""
    return {
        "report": report.model_dump(mode="json"),
        "examples": report.examples,
        "clean_accuracy": report.clean_accuracy,
        "certified_accuracy": report.certified_accuracy,
        "corruptions": None if report.corruptions is None else report.corruptions.model_dump(mode="json"),
        "verified": report.verified,
        "flags": [flag.model_dump(mode="json") for flag in report.flags],
        "forward_rows": report.forward_rows,
        "backward_rows": report.backward_rows,
        "seconds": report.seconds,
    }
