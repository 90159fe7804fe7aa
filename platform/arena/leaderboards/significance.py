"""How sure the ranks of a board are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.cache import cache

from arena.challenges.models import Challenge
from arena.leaderboards.queries import Board, Row, board
from arena.matrix.models import Survival
from arena.rankings.bits import unpack
from arena.rankings.significance import against_neighbours, rank_sets

KEPT_SECONDS = 86400


@dataclass(frozen=True)
class Significance:
    """rank_set: (best, worst) place that a defense may truly have. p_value: against the next one below, None at the end."""

    rank_set: tuple[int, int]
    p_value: float | None


def significance(challenge: Challenge, standing: Board | None = None) -> dict[str, Significance]:
    """Submission's public id -> how sure its rank is, for every ranked defense whose bits are known; in board order.

    standing: the board, if it was read already. Kept for as long as no ranked defense's figures change: bits are only ever
    cleared, so that equal counts of one evaluation are equal bits. Empty for a board that ranks by proof or by mCE: the bits
    say nothing about such a rank.
    """
    if challenge.spec.certified is not None or challenge.spec.ranking.by != "robust":
        return {}
    ranked = (standing or board(challenge)).ranked
    state = " ".join(f"{row.evaluation_id} {row.robust_accuracy}" for row in ranked)
    key = f"significance:{hashlib.sha256(state.encode()).hexdigest()}"
    known: dict[str, Significance] | None = cache.get(key)
    if known is None:
        known = _significance(ranked)
        if len(known) == len(ranked):  # a verdict whose bits are not opened yet will have them
            cache.set(key, known, timeout=KEPT_SECONDS)
    return known


def _significance(ranked: Sequence[Row]) -> dict[str, Significance]:
    rows = Survival.objects.filter(evaluation__public_id__in=[row.evaluation_id for row in ranked])
    bits = dict(rows.values_list("evaluation__public_id", "robust"))
    known = [row for row in ranked if row.evaluation_id in bits]
    ordered = [unpack(bytes(bits[row.evaluation_id]), row.examples) for row in known]
    p_values: list[float | None] = [*against_neighbours(ordered), None]
    return {
        row.submission_id: Significance(places, p_value)
        for row, places, p_value in zip(known, rank_sets(ordered), p_values, strict=False)
    }
