"""The end of trials and cells, once, whoever gets there first: acceptance, bits, and falls."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models.functions import Now

from arena.challenges.services import bump
from arena.evaluations.leases import database_now
from arena.evaluations.services import hint as queue_search
from arena.matrix import adversarial, survival
from arena.matrix.models import Archive, Cell, CellShard, Trial
from arena.matrix.services import fill, reprioritise
from arena.rankings.bits import count, pack, unpack
from arena.rankings.optimality import gained
from arena.running import cell_outcomes
from arena.running.merging import merge
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import CellCompleted, CellOutcome, DefenseFailed
from evaluator.records.report import PlatformFailed, SubmissionFailed

logger = logging.getLogger(__name__)
_NO_CLAIM = {"shape", "dtype", "non-finite"}


def settle_trial(trial_id: int) -> bool:
    """Accepts the attack or refuses it, by what the first look found. True when this call did."""
    trial = Trial.objects.select_related("submission__challenge").get(pk=trial_id)
    if trial.outcome is None:
        return False
    outcome = cell_outcomes.load(trial.outcome, None)
    found: list[dict[str, Any]] = trial.outcome.get("violations", [])
    verdict, reason, detail, report = Trial.Verdict.ACCEPTED, "", "", None
    match outcome:
        case CellCompleted():
            report = cell_outcomes.brief(outcome.report)
            found = found or report["violations"]
            useless = [each for each in found if each["kind"] in _NO_CLAIM and each["count"] >= outcome.report.examples]
            if useless:
                verdict, reason, detail = Trial.Verdict.REFUSED, useless[0]["kind"], _sentence(useless[0])
        case DefenseFailed() | PlatformFailed():
            verdict, reason, detail = Trial.Verdict.PLATFORM_FAILED, outcome.reason, outcome.detail
        case SubmissionFailed(reason="timeout"):
            reason, detail = outcome.reason, f"Slow: {outcome.detail} It plays nevertheless, within the challenge's limits."
        case SubmissionFailed():
            verdict, reason, detail = Trial.Verdict.REFUSED, outcome.reason, outcome.detail
    with transaction.atomic():
        settled = Trial.objects.filter(pk=trial_id, verdict="").update(
            verdict=verdict,
            reason=reason,
            detail=detail,
            report=report,
            violations=found,
            finished=Now(),
            outcome=None,
        )
        if not settled:
            return False
        if verdict == Trial.Verdict.ACCEPTED:
            fill(trial.submission.challenge)
        bump(trial.submission.challenge_id)
    logger.info("attack %s: %s %s", trial.submission.public_id, verdict, reason)
    return True


def _sentence(violation: dict[str, Any]) -> str:
    return f"All {violation['count']} examples looked at cannot count: {violation['detail']}"


def settle_cell(cell_id: int) -> bool:
    """Finishes the cell when its shards allow it: all are done, or one has failed. True when this call finished it."""
    shards = list(CellShard.objects.filter(cell=cell_id).order_by("index").only("outcome", "inputs"))
    done = [cell_outcomes.load(shard.outcome, shard.inputs) for shard in shards if shard.outcome is not None]
    failed = [outcome for outcome in done if not isinstance(outcome, CellCompleted)]
    if not failed and len(done) < len(shards):
        return False
    outcome: CellOutcome
    try:
        outcome = failed[0] if failed else merge(done)
    except (OSError, MemoryError):
        raise  # this machine's trouble: the sweep of another one finishes the cell
    except Exception as error:  # our code, not the submission's: its shards fit together or the platform has failed
        logger.exception("joining the shards of cell %d failed", cell_id)
        outcome = PlatformFailed("merge", f"{type(error).__name__}: {error}")
    return conclude_cell(cell_id, outcome)


def conclude_cell(cell_id: int, outcome: CellOutcome) -> bool:
    """Writes what the cell came to, once; what it broke is cleared from the defense's survival."""
    with transaction.atomic():
        cell = Cell.objects.select_related("challenge", "evaluation", "source").get(pk=cell_id)
        survival.lock(cell.defense_id)
        now, fall = database_now(), None
        unfinished = Cell.objects.filter(pk=cell_id, state__in=Cell.UNFINISHED)
        if isinstance(outcome, CellCompleted):
            values, breaks = _found(outcome, cell)
            if not unfinished.update(state=Cell.State.COMPLETED, finished=now, **values):
                return False
            inputs, archive = _kept(cell, outcome, breaks)
            told = values["report"] | {"read_as": _read_as(outcome, adversarial.shown(inputs))}
            Cell.objects.filter(pk=cell_id).update(archive=archive, report=told)
            cell.refresh_from_db(fields=["breaks", "distances"])
            fall = survival.clear(cell, pack(outcome.report.correct_bits), breaks, now)
        elif not unfinished.update(state=_failure(outcome), finished=now, reason=outcome.reason, detail=outcome.detail):
            return False
        CellShard.objects.filter(cell=cell_id).update(outcome=None, inputs=None)  # the cell has it all
        if cell.source is not None:
            Cell.objects.filter(pk=cell_id).update(source=None)  # what is worth keeping is kept elsewhere
            adversarial.drop_unused(cell.source)
        if fall is not None:
            logger.info("attack %d broke %d more examples of defense %d", cell.attack_id, fall.fallen, cell.defense_id)
            reprioritise(cell.challenge)
        if cell.kind == Cell.Kind.TRANSFER:
            transaction.on_commit(lambda: queue_search(evaluation_id=cell.evaluation_id), robust=True)
        bump(cell.challenge_id)
    return True


def _kept(cell: Cell, outcome: CellCompleted, breaks: bytes) -> tuple[AdversarialArchive, Archive | None]:
    """The inputs that a cell shows, and where they are stored: a transfer's are those of its origin."""
    if cell.kind == Cell.Kind.TRANSFER:
        inputs = adversarial.of_examples(outcome.adversarial, unpack(breaks, cell.examples))
        return inputs, cell.source if len(inputs) else None
    inputs = adversarial.of_examples(outcome.adversarial, unpack(survival.unwitnessed(cell, breaks), cell.examples))
    return inputs, adversarial.keep(inputs)


def _read_as(outcome: CellCompleted, examples: list[int]) -> dict[str, int]:
    """Example -> the class that the defense gave its input, of those that pages show."""
    labels = dict(zip(outcome.report.ids, outcome.report.read_as, strict=False))
    return {str(example): label for example in examples if (label := labels.get(example)) is not None}


def _failure(outcome: SubmissionFailed | PlatformFailed) -> Cell.State:
    if isinstance(outcome, DefenseFailed):
        return Cell.State.DEFENSE_FAILED
    return Cell.State.ATTACK_FAILED if isinstance(outcome, SubmissionFailed) else Cell.State.PLATFORM_FAILED


def _found(outcome: CellCompleted, cell: Cell) -> tuple[dict[str, Any], bytes]:
    """The cell's columns and its breaks: what the attack broke, not what the defense gets wrong by itself."""
    report = outcome.report
    epsilon = getattr(cell.evaluation.judged_pack.challenge.threat, "epsilon", None)
    breaks = pack([bool(c) and not r for c, r in zip(report.correct_bits, report.robust_bits, strict=True)])
    columns = {
        "breaks": breaks,
        "broken": count(breaks),
        "left": sum(report.robust_bits),
        "distances": adversarial.pack_distances(report.distances),
        "gain": gained(np.array([d for d in report.distances if d is not None], dtype="<f4").astype(np.float64), epsilon),
        "verified": report.verified,
        "forward_rows": report.forward_rows,
        "backward_rows": report.backward_rows,
        "seconds": report.seconds,
        "report": cell_outcomes.brief(report),
    }
    return columns, breaks
