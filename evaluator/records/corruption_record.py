"""Errors under common corruptions: the table of kinds and severities, mCE and relative mCE. Torch-free.

E(s, c) is the error rate under kind c at severity s, E the clean one, E' those of the standard network on the same images
(Hendrycks and Dietterich 2019, sec. 4):

    CE(c) = sum over s of E(s, c) / sum over s of E'(s, c)                       mCE: their mean
    relative CE(c) = sum over s of (E(s, c) - E) / sum over s of (E'(s, c) - E')      relative mCE: their mean

All errors are counts over the same images, so that shards add up to the same figures. 1.0 is the standard network. A kind of
which the standard network makes no error (of relative CE: no more errors than on clean images) has no such figure, for
nobody, and does not enter the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluator.errors import InputError
from evaluator.records.report import CorruptionRecord, StandardErrors

Counts = list[list[int]]


def corruption_record(
    kinds: Sequence[str],
    severities: Sequence[int],
    *,
    examples: int,
    clean_errors: int,
    errors: Counts,
    standard: StandardErrors | None,
) -> CorruptionRecord:
    """The record with its measures. errors: by kind and severity; standard: None where the network's errors are not known."""
    ratios: list[float | None] = [None] * len(kinds)
    mce = relative = None
    if standard is not None:
        ratios = [_ratio(sum(own), sum(theirs)) for own, theirs in zip(errors, standard.errors, strict=True)]
        clean, clean_standard = (len(severities) * count for count in (clean_errors, standard.clean_errors))
        rises = zip(errors, standard.errors, strict=True)
        mce = _mean(ratios)
        relative = _mean([_ratio(sum(own) - clean, sum(theirs) - clean_standard) for own, theirs in rises])
    return CorruptionRecord(
        kinds=list(kinds),
        severities=list(severities),
        examples=examples,
        clean_errors=clean_errors,
        errors=errors,
        standard=standard,
        ratios=ratios,
        mce=mce,
        relative_mce=relative,
    )


def join_corruptions(records: Sequence[CorruptionRecord]) -> CorruptionRecord | None:
    """One record of all shards; None where there is none. Raises InputError for tables of different corruptions."""
    if not records:
        return None
    first = records[0]
    for record in records[1:]:
        if (record.kinds, record.severities) != (first.kinds, first.severities):
            raise InputError("the shards do not belong to one evaluation: their tables are of different corruptions.")
    known = [record.standard for record in records if record.standard is not None]
    standard = None
    if len(known) == len(records):
        standard = StandardErrors(
            network=known[0].network,
            clean_errors=sum(each.clean_errors for each in known),
            errors=_sum([each.errors for each in known]),
        )
    return corruption_record(
        first.kinds,
        first.severities,
        examples=sum(record.examples for record in records),
        clean_errors=sum(record.clean_errors for record in records),
        errors=_sum([record.errors for record in records]),
        standard=standard,
    )


def _sum(tables: Sequence[Counts]) -> Counts:
    return [[sum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*tables, strict=True)]


def _ratio(own: int, theirs: int) -> float | None:
    return own / theirs if theirs > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
