"""Reads of per-example bits, for exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arena.matrix.models import Survival
from arena.rankings.bits import Bits, unpack


@dataclass(frozen=True)
class BitRow:
    """entry: its public id. correct, robust: (n,) bool in data order, as they are by now."""

    entry: str
    correct: Bits
    robust: Bits


def bit_rows(evaluations: Sequence[str]) -> Iterator[BitRow]:
    """The bits of these evaluations (by public id) in the given order; those whose bits are not known are left out."""
    columns = ("evaluation__public_id", "evaluation__submission__public_id", "evaluation__examples", "correct", "robust")
    known = {row[0]: row[1:] for row in Survival.objects.filter(evaluation__public_id__in=evaluations).values_list(*columns)}
    for evaluation in evaluations:
        if evaluation in known:
            entry, examples, correct, robust = known[evaluation]
            yield BitRow(entry, unpack(bytes(correct), examples), unpack(bytes(robust), examples))
