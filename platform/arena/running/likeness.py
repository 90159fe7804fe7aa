"""Compares the stored results of two attacks on one defense."""

from __future__ import annotations

from collections.abc import Sequence

from evaluator.data import examples
from evaluator.judging.likeness import alike
from evaluator.manifests.spec import Pack
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.threats import build


def same_results(pack: Pack, one: bytes, others: Sequence[bytes]) -> list[list[int]]:
    """For each of `others` the ids of the examples at which it holds the same result as `one`; all are stored archives.

    Raises InputError for archives of another challenge, and PlatformError where the images cannot be had.
    """
    ranked, threat, mine = examples(pack.challenge.data), build(pack.challenge.threat), AdversarialArchive.from_bytes(one)
    return [alike(mine, AdversarialArchive.from_bytes(other), ranked, threat) for other in others]
