"""How defenses rank among each other, on boards of attacks and on boards of proofs. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

Score = TypeVar("Score")


@dataclass(frozen=True)
class DefenseScore:
    """What decides a defense's place.

    robust, clean: accuracies in [0, 1]; cost: weighted rows of the verdict (`evaluator.records.cost`); entered: when. mce: the
    mean corruption error, None where it is not known.
    """

    robust: float
    clean: float
    cost: int
    entered: datetime
    mce: float | None = None


def order_defenses(scores: Sequence[DefenseScore]) -> list[int]:
    """Indices, best first: robust accuracy, then clean accuracy, then the cheaper verdict, then the earlier entry."""
    return _order(scores, _worst_case)


def order_by_corruptions(scores: Sequence[DefenseScore]) -> list[int]:
    """Indices, best first: the least mean corruption error (unknown ones last), then as `order_defenses`."""
    return _order(scores, lambda score: (math.inf if score.mce is None else score.mce, *_worst_case(score)))


def _worst_case(score: DefenseScore) -> tuple[Any, ...]:
    return (-score.robust, -score.clean, score.cost, score.entered)


@dataclass(frozen=True)
class CertifiedScore:
    """What decides a place among proofs.

    accuracy: the share in [0, 1] that is proven at the threat's epsilon; average_radius: in the threat's norm, 0 where nothing
    is proven; entered: when.
    """

    accuracy: float
    average_radius: float
    entered: datetime


def order_certified(scores: Sequence[CertifiedScore]) -> list[int]:
    """Indices, best first: proven at epsilon, then average certified radius, then the earlier entry."""
    return _order(scores, lambda score: (-score.accuracy, -score.average_radius, score.entered))


def _order(scores: Sequence[Score], key: Callable[[Score], tuple[Any, ...]]) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: key(scores[index]))


def show_rank_set(rank_set: tuple[int, int]) -> str:
    """ "3", or "2-4" with an en dash."""
    best, worst = rank_set
    return str(best) if best == worst else f"{best}\N{EN DASH}{worst}"
