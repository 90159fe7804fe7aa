"""A whole cell from those of its shards. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from evaluator.errors import InputError
from evaluator.records.adversarial_archive import join_archives
from evaluator.records.cell_report import CellCompleted, CellOutcome, CellReport, Violation
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import PlatformFailed, SubmissionFailed


def join_cells(shards: Sequence[CellOutcome]) -> CellOutcome:
    """The whole cell from its shards, in data order.

    A shard whose submission failed fails the whole; a platform failure anywhere leaves no verdict. Raises InputError for
    shards of different cells.
    """
    if not shards:
        raise InputError("there is no shard to join.")
    for kind in (SubmissionFailed, PlatformFailed):
        for outcome in shards:
            if isinstance(outcome, kind):
                return outcome
    done = [outcome for outcome in shards if isinstance(outcome, CellCompleted)]
    if len(done) == 1:
        return done[0]
    return CellCompleted(_join([cell.report for cell in done]), join_archives([cell.adversarial for cell in done]))


def _join(reports: list[CellReport]) -> CellReport:
    first = reports[0]
    for report in reports[1:]:
        same = (report.challenge, report.kind, report.seed, report.digests)
        if same != (first.challenge, first.kind, first.seed, first.digests):
            raise InputError("the shards do not belong to one cell (challenge, kind, seed and digests must agree).")
    examples = sum(report.examples for report in reports)
    correct = [bit for report in reports for bit in report.correct_bits]
    robust = [bit for report in reports for bit in report.robust_bits]
    budgets = [report.budget_rows for report in reports if report.budget_rows is not None]
    flags = {(flag.check, flag.evidence): flag for report in reports for flag in report.flags}
    return first.model_copy(
        update={
            "examples": examples,
            "ids": [number for report in reports for number in report.ids],
            "clean_accuracy": sum(correct) / examples,
            "robust_accuracy": sum(robust) / examples,
            "robust_interval": clopper_pearson(sum(robust), examples),
            "correct_bits": correct,
            "robust_bits": robust,
            "distances": [distance for report in reports for distance in report.distances],
            "read_as": [label for report in reports for label in report.read_as],
            "violations": _violations([violation for report in reports for violation in report.violations]),
            "forward_rows": sum(report.forward_rows for report in reports),
            "backward_rows": sum(report.backward_rows for report in reports),
            "budget_rows": sum(budgets) if budgets else None,
            "check_rows": sum(report.check_rows for report in reports),
            "seconds": sum(report.seconds for report in reports),
            "flags": [flags[key] for key in sorted(flags)],
            "verified": all(report.verified for report in reports),
        }
    )


def _violations(found: list[Violation]) -> list[Violation]:
    """One of each kind, in order of first appearance, with every example; the first shard's words."""
    joined: dict[str, Violation] = {}
    for violation in found:
        before = joined.get(violation.kind)
        ids = (before.ids if before else []) + violation.ids
        joined[violation.kind] = (before or violation).model_copy(update={"ids": ids, "count": len(ids)})
    return list(joined.values())
