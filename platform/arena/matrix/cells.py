"""The judges of cells: an attack that plays a defense, and stored inputs replayed on one. What they broke falls."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from arena.jobs import runner
from arena.jobs.judges import Judge, Line
from arena.jobs.models import Shard, Trial
from arena.matrix import adversarial, patience, repeats, survival
from arena.matrix.models import Archive, Cell
from arena.matrix.services import reprioritise
from arena.rankings.bits import count, pack, unpack
from arena.running.listening import Listener
from arena.running.requests import AttackRequest
from arena.submissions.locking import lock
from arena.submissions.unpacking import unpack_submission
from evaluator.errors import Cancelled, SubmissionError
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellOutcome, CellReport, DefenseFailed
from evaluator.records.report import SubmissionFailed
from sandbox.scratch import owned_folder

logger = logging.getLogger(__name__)
_LONG = {"ids", "correct_bits", "robust_bits", "unbroken_bits", "targets", "distances", "read_as"}


class CellJudge(Judge):
    """What all cells have in common: how they are joined, and what falls because of them."""

    line = Line.FAIR
    failed_by_theirs = Trial.State.ATTACK_FAILED

    def run(self, shard: Shard, listener: Listener) -> CellOutcome:
        cell = Cell.objects.select_related("attack", "defense", "evaluation", "source").get(trial=shard.trial_id)
        with owned_folder("redoubt-play-") as temporary:
            attack, defense = folders(temporary)
            try:
                unpack_submission(cell.defense, defense)
            except SubmissionError as error:
                return DefenseFailed(error.reason, str(error))
            request = AttackRequest(cell.evaluation.judged_pack, attack, defense, cell.seed, (shard.start, shard.stop))
            return self.play(cell, request, listener)

    def play(self, cell: Cell, request: AttackRequest, listener: Listener) -> CellOutcome:
        """The shard's outcome; the defense is unpacked already."""
        try:
            unpack_submission(cell.attack, request.attack)
        except SubmissionError as error:
            return SubmissionFailed(error.reason, str(error))
        return runner.configured().play(request, listener)

    def completed(self, report: Any, inputs: bytes) -> CellCompleted:
        return CellCompleted(CellReport.model_validate(report), inputs)

    def entries(self, trial_id: int) -> frozenset[int]:
        return frozenset(Cell.objects.values_list("attack", "defense").get(trial=trial_id))

    def lock(self, trial: Trial) -> None:
        lock(Cell.objects.values_list("defense", flat=True).get(trial=trial.key))

    def publish(self, trial: Trial, outcome: CellOutcome, at: datetime) -> None:
        """Writes what the cell found; what it broke is cleared from the defense's survival."""
        cell = Cell.objects.select_related("challenge", "evaluation", "source", "attack__challenge").get(trial=trial.key)
        if isinstance(outcome, CellCompleted):
            self._publish_completed(cell, outcome, at)
        if cell.kind == Cell.Kind.PLAY:
            patience.weigh(cell.attack)
        if cell.source is not None:
            Cell.objects.filter(pk=cell.pk).update(source=None)  # what is worth keeping is kept elsewhere
            adversarial.drop_unused(cell.source)

    def _publish_completed(self, cell: Cell, outcome: CellCompleted, at: datetime) -> None:
        report = outcome.report
        breaks = pack([bool(c) and not r for c, r in zip(report.attackable, report.robust_bits, strict=True)])
        inputs, archive = self.kept(cell, outcome, breaks)
        shown = brief(report) | {"read_as": _read_as(outcome, adversarial.shown(inputs))}
        Cell.objects.filter(pk=cell.pk).update(**_columns(report, breaks), archive=archive, report=shown)
        cell.refresh_from_db(fields=["breaks", "distances"])
        self.weigh(cell, outcome)
        fall = survival.clear(cell, pack(report.attackable), breaks, at)
        if fall is not None:
            logger.info("attack %d broke %d more examples of defense %d", cell.attack_id, fall.fallen, cell.defense_id)
            reprioritise(cell.challenge)

    def kept(self, cell: Cell, outcome: CellCompleted, breaks: bytes) -> tuple[AdversarialArchive, Archive | None]:
        """The inputs that a cell shows, and where they are stored."""
        fresh = unpack(survival.unwitnessed(cell, breaks), cell.examples)
        inputs = adversarial.of_examples(outcome.adversarial, fresh)
        return inputs, adversarial.keep(inputs)

    def weigh(self, cell: Cell, outcome: CellCompleted) -> None:
        """What the cell counts for, in whose figures it does at all."""
        survival.measure(cell)


class PlayJudge(CellJudge):
    """A submitted attack plays a defense."""

    name = Cell.Kind.PLAY.value

    def weigh(self, cell: Cell, outcome: CellCompleted) -> None:
        """Its results are kept, and compared with those of other attacks before they count."""
        breaks = unpack(bytes(cell.breaks or b""), cell.examples)
        cell.results = adversarial.keep(adversarial.of_examples(outcome.adversarial, breaks))
        cell.gain = adversarial.gain_of(cell, getattr(cell.evaluation.judged_pack.challenge.threat, "epsilon", None))
        cell.save(update_fields=["results", "gain"])
        repeats.compare(cell)
        survival.measure(cell)


class ReplayJudge(CellJudge):
    """What an attack left on other defenses is replayed on this one."""

    name = Cell.Kind.REPLAY.value

    def play(self, cell: Cell, request: AttackRequest, listener: Listener) -> CellOutcome:
        if cell.source is None:
            raise Cancelled("the cell was settled meanwhile.")
        return runner.configured().replay(request.pack, request.defense, adversarial.read(cell.source), request.seed, listener)


class TransferJudge(ReplayJudge):
    """What the official ensemble found on another defense is replayed on this one."""

    name = Cell.Kind.TRANSFER.value

    def kept(self, cell: Cell, outcome: CellCompleted, breaks: bytes) -> tuple[AdversarialArchive, Archive | None]:
        """They are stored already, where they were found."""
        inputs = adversarial.of_examples(outcome.adversarial, unpack(breaks, cell.examples))
        return inputs, cell.source if len(inputs) else None


def folders(root: Path) -> tuple[Path, Path]:
    """Empty folders for the attack and the defense."""
    attack, defense = root / "attack", root / "defense"
    attack.mkdir()
    defense.mkdir()
    return attack, defense


def brief(report: CellReport) -> dict[str, Any]:
    """The report without what has a value per example: those are stored packed."""
    return report.model_dump(mode="json", exclude=_LONG)


def _read_as(outcome: CellCompleted, examples: list[int]) -> dict[str, int]:
    """Example -> the class that the defense gave its input, of those that pages show."""
    labels = dict(zip(outcome.report.ids, outcome.report.read_as, strict=False))
    return {str(example): label for example in examples if (label := labels.get(example)) is not None}


def _columns(report: CellReport, breaks: bytes) -> dict[str, Any]:
    """The cell's figures. breaks: what the attack broke, not what the defense gets wrong by itself."""
    return {
        "breaks": breaks,
        "broken": count(breaks),
        "left": sum(report.robust_bits),
        "distances": adversarial.pack_distances(report.distances),
        "verified": report.verified,
        "forward_rows": report.forward_rows,
        "backward_rows": report.backward_rows,
        "seconds": report.seconds,
    }
