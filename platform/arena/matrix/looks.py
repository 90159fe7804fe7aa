"""The judge that takes the first look at an uploaded attack: accepted ones play."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel

from arena.jobs import outcomes, runner
from arena.jobs.judges import End, Judge, Line
from arena.jobs.models import Shard, Trial
from arena.jobs.outcomes import Outcome
from arena.matrix.cells import brief, folders
from arena.matrix.models import FirstLook
from arena.matrix.services import fill
from arena.running.listening import Listener
from arena.running.requests import AttackRequest
from arena.submissions.locking import lock
from arena.submissions.unpacking import unpack_submission
from evaluator.errors import SubmissionError
from evaluator.records.cell_report import CellReport, DefenseFailed, Violation
from evaluator.records.report import PlatformFailed, SubmissionFailed
from sandbox.scratch import owned_folder

_NO_CLAIM = {"shape", "dtype", "non-finite"}


class Looked(BaseModel):
    """A look that came to its end. outcome: of five examples, as JSON; violations: for an array those of every example."""

    adversarial: ClassVar[bytes] = b""

    outcome: dict[str, Any]
    violations: list[Violation]

    @property
    def report(self) -> Looked:
        return self

    @property
    def found(self) -> CellReport | SubmissionFailed:
        failed = outcomes.failure(self.outcome)
        assert not isinstance(failed, PlatformFailed)
        return failed or CellReport.model_validate(self.outcome["report"])


class FirstLookJudge(Judge):
    """Whether an attack works at all: refused ones never play."""

    name = FirstLook.JUDGE
    line = Line.FIRST

    def run(self, shard: Shard, listener: Listener) -> Looked | SubmissionFailed | PlatformFailed:
        look = FirstLook.objects.select_related("submission", "target").get(trial=shard.trial_id)
        pack = look.target.evaluations.get(current=True).judged_pack
        violations: list[Violation] = []
        with owned_folder("redoubt-look-") as temporary:
            attack, defense = folders(temporary)
            try:
                unpack_submission(look.submission, attack)
                if look.submission.manifest["format"] == "array":
                    violations = runner.configured().check_array(pack, attack)
            except SubmissionError as error:
                return SubmissionFailed(error.reason, str(error))
            unpack_submission(look.target, defense)
            outcome = runner.configured().look(AttackRequest(pack, attack, defense, look.seed), listener)
        if isinstance(outcome, PlatformFailed):
            return outcome
        return Looked(outcome=outcomes.dump(outcome), violations=violations)

    def completed(self, report: Any, inputs: bytes) -> Looked:
        return Looked.model_validate(report)

    def merge(self, done: Sequence[Looked]) -> Looked:
        return done[0]

    def entries(self, trial_id: int) -> frozenset[int]:
        return frozenset(FirstLook.objects.values_list("submission", "target").get(trial=trial_id))

    def lock(self, trial: Trial) -> None:
        lock(FirstLook.objects.values_list("submission", flat=True).get(trial=trial.key))

    def end(self, outcome: Outcome) -> End:
        if not isinstance(outcome, Looked):
            return super().end(outcome)
        match outcome.found:
            case DefenseFailed() as failed:
                return End(Trial.State.PLATFORM_FAILED, failed.reason, failed.detail)
            case SubmissionFailed(reason="timeout") as slow:
                words = f"Slow: {slow.detail} It plays nevertheless, within the challenge's limits."
                return End(Trial.State.COMPLETED, slow.reason, words)
            case SubmissionFailed() as failed:
                return super().end(failed)
            case CellReport() as report:
                found = outcome.violations or report.violations
                useless = [each for each in found if each.kind in _NO_CLAIM and each.count >= report.examples]
                if useless:
                    words = f"All {useless[0].count} examples looked at cannot count: {useless[0].detail}"
                    return End(Trial.State.SUBMISSION_FAILED, useless[0].kind, words)
        return End(Trial.State.COMPLETED)

    def publish(self, trial: Trial, outcome: Outcome, at: datetime) -> None:
        """What was seen; an accepted attack gets its cells."""
        looks = FirstLook.objects.filter(trial=trial.key)
        if isinstance(outcome, Looked):
            report, found = outcome.found, outcome.violations
            if isinstance(report, CellReport):
                found = found or report.violations
                looks.update(report=brief(report))
            looks.update(violations=[each.model_dump(mode="json") for each in found])
        if self.end(outcome).state == Trial.State.COMPLETED:
            fill(trial.challenge)
