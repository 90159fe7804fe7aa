"""How defenses rank among each other. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DefenseScore:
    """What decides a defense's place. robust, clean: accuracies in [0, 1], None where there is no number; cost: model rows.

    verified: whether the evaluator vouches for it.
    """

    robust: float | None
    clean: float | None
    cost: int
    verified: bool = True


def order_defenses(scores: Sequence[DefenseScore]) -> list[int]:
    """Indices, best first: verified before unverified, a number before none, then robust, clean accuracy, and the cheaper.

    The given order (by time of entry) decides among equals.
    """

    def key(index: int) -> tuple[bool, bool, float, float, int]:
        score = scores[index]
        robust = -1.0 if score.robust is None else score.robust
        clean = -1.0 if score.clean is None else score.clean
        return (not score.verified, score.robust is None, -robust, -clean, score.cost)

    return sorted(range(len(scores)), key=key)


def show_rank_set(rank_set: tuple[int, int]) -> str:
    """ "3", or "2-4" with an en dash."""
    best, worst = rank_set
    return str(best) if best == worst else f"{best}\N{EN DASH}{worst}"
