"""The whole outcome from those of its shards, of an evaluation or of a cell. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from evaluator.errors import InputError
from evaluator.records.adversarial_archive import join_archives
from evaluator.records.cell_report import CellCompleted, CellOutcome, CellReport, Violation
from evaluator.records.certificate_record import CHECK, alarm, join
from evaluator.records.corruption_record import join_corruptions
from evaluator.records.intervals import clopper_pearson
from evaluator.records.report import (
    AttackRecord,
    CheckRecord,
    Flag,
    Outcome,
    PlatformFailed,
    Report,
    SubmissionFailed,
)

Ended = TypeVar("Ended", Outcome, CellOutcome)


def merge(shards: Sequence[Ended]) -> Ended:
    """Joins shard outcomes, in data order; equal bit for bit to a run that was not sharded.

    A shard whose submission failed fails the whole; a platform failure anywhere leaves no verdict. Raises InputError for
    shards that do not belong together.
    """
    if not shards:
        raise InputError("there is no shard to merge.")
    for kind in (SubmissionFailed, PlatformFailed):
        for outcome in shards:
            if isinstance(outcome, kind):
                return outcome
    merged: Ended = _merged(list(shards))
    return merged


def _merged(done: list[Any]) -> Any:
    """One completed outcome from several of the same kind."""
    cells = isinstance(done[0], CellCompleted)
    if cells and len(done) == 1:
        return done[0]
    reports, found = [outcome.report for outcome in done], [outcome.adversarial for outcome in done if outcome.adversarial]
    joined = _join_cells(reports) if cells else _join(reports)
    return replace(done[0], report=joined, adversarial=join_archives(found) if found else b"")


def _join(reports: list[Report]) -> Report:
    first = reports[0]
    for report in reports[1:]:
        same = (report.challenge, report.seed, report.digests) == (first.challenge, first.seed, first.digests)
        same &= report.environment.judging == first.environment.judging
        if not same or [a.name for a in report.attacks] != [a.name for a in first.attacks]:
            raise InputError(
                "the shards do not belong to one evaluation (challenge, seed, digests, way of judging and attacks must agree)."
            )
    common = _common(reports)
    certified = [bit for report in reports for bit in report.certified_bits]
    asked = any(report.certified_accuracy is not None for report in reports)
    certificate = join([report.certificate for report in reports if report.certificate is not None])
    flags = _flags(reports, [] if certificate is None else alarm(certificate))
    return first.model_copy(
        update={
            **common,
            "queries": [rows for report in reports for rows in report.queries],
            "certified_bits": certified,
            "certified_accuracy": sum(certified) / common["examples"] if asked else None,
            "broken_by": [index for report in reports for index in report.broken_by],
            "attacks": [_record(records) for records in zip(*(report.attacks for report in reports), strict=True)],
            "flags": flags,
            "certificate": certificate,
            "checks": _checks(reports),
            "corruptions": join_corruptions([report.corruptions for report in reports if report.corruptions is not None]),
            "verified": not any(flag.severity == "unverified" for flag in flags),
        }
    )


def _join_cells(reports: list[CellReport]) -> CellReport:
    first = reports[0]
    for report in reports[1:]:
        same = (report.challenge, report.kind, report.seed, report.digests)
        if same != (first.challenge, first.kind, first.seed, first.digests):
            raise InputError("the shards do not belong to one cell (challenge, kind, seed and digests must agree).")
    budgets = [report.budget_rows for report in reports if report.budget_rows is not None]
    return first.model_copy(
        update={
            **_common(reports),
            "distances": [distance for report in reports for distance in report.distances],
            "read_as": [label for report in reports for label in report.read_as],
            "violations": _violations([violation for report in reports for violation in report.violations]),
            "budget_rows": sum(budgets) if budgets else None,
            "check_rows": sum(report.check_rows for report in reports),
            "flags": _flags(reports, []),
            "verified": all(report.verified for report in reports),
        }
    )


def _common(reports: Sequence[Report | CellReport]) -> dict[str, Any]:
    """What reports of both kinds have."""
    examples = sum(report.examples for report in reports)
    correct = [bit for report in reports for bit in report.correct_bits]
    robust = [bit for report in reports for bit in report.robust_bits]
    return {
        "examples": examples,
        "ids": [i for report in reports for i in report.ids],
        "correct_bits": correct,
        "robust_bits": robust,
        "unbroken_bits": [bit for report in reports for bit in report.unbroken_bits],
        "targets": [target for report in reports for target in report.targets],
        "clean_accuracy": sum(correct) / examples,
        "robust_accuracy": sum(robust) / examples,
        "robust_interval": clopper_pearson(sum(robust), examples),
        "forward_rows": sum(report.forward_rows for report in reports),
        "backward_rows": sum(report.backward_rows for report in reports),
        "seconds": sum(report.seconds for report in reports),
    }


def _record(records: Sequence[AttackRecord]) -> AttackRecord:
    """One attack's record over all shards."""
    return AttackRecord(
        name=records[0].name,
        tried=sum(r.tried for r in records),
        broken=sum(r.broken for r in records),
        survivors=sum(r.survivors for r in records),
        forward_rows=sum(r.forward_rows for r in records),
        backward_rows=sum(r.backward_rows for r in records),
        seconds=sum(r.seconds for r in records),
    )


def _flags(reports: Sequence[Report | CellReport], alarms: list[Flag]) -> list[Flag]:
    """Every flag, one per check and evidence; a certificate is judged as a whole, since chance is allowed some witnesses."""
    found = [flag for report in reports for flag in report.flags if flag.check != CHECK]
    seen = {(flag.check, flag.evidence): flag for flag in (*found, *alarms)}
    return [seen[key] for key in sorted(seen)]


def _checks(reports: list[Report]) -> list[CheckRecord]:
    """One record per check: the gravest that a shard has, the first of equals."""
    gravest: dict[str, CheckRecord] = {}
    for record in (record for report in reports for record in report.checks):
        known = gravest.setdefault(record.check, record)
        if _gravity(record) > _gravity(known):
            gravest[record.check] = record
    return [gravest[name] for name in sorted(gravest)]


def _gravity(record: CheckRecord) -> int:
    return (1 + (record.severity == "unverified")) * record.fired


def _violations(found: list[Violation]) -> list[Violation]:
    """One of each kind, in order of first appearance, with every example; the first shard's words."""
    joined: dict[str, Violation] = {}
    for violation in found:
        before = joined.get(violation.kind)
        ids = (before.ids if before else []) + violation.ids
        joined[violation.kind] = (before or violation).model_copy(update={"ids": ids, "count": len(ids)})
    return list(joined.values())
