"""Which differences between defenses are more than luck: exact McNemar tests with Holm's correction. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from arena.rankings.bits import Bits

ALPHA = 0.05
_EXACT = 2**24  # counts below this are exact in float32


def mcnemar(first: Bits, second: Bits) -> float:
    """The exact two-sided p-value that two defenses are equally robust on the same examples (McNemar 1947).

    Only examples on which they differ count: under the null each is a fair coin. 1 when they never differ.
    """
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    return discordant_p_value(only_first, only_second)


def discordant_p_value(only_first: int, only_second: int) -> float:
    """`mcnemar` from the two counts of examples that only one of the defenses withstood."""
    return float(_p_values(only_first, only_second))


def _p_values(only_first: ArrayLike, only_second: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(only_first), np.asarray(only_second)
    fewer = np.minimum(first, second).astype(np.float64)
    p_values: NDArray[np.float64] = np.minimum(1.0, 2.0 * bdtr(fewer, first + second, 0.5))
    return p_values


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): all that stay at or below alpha are true at once with confidence 1 - alpha."""
    given = np.asarray(p_values, np.float64)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(given), 0, -1) * given[order]))
    return [float(value) for value in adjusted]


def against_neighbours(ordered: Sequence[Bits]) -> list[float]:
    """Holm-adjusted p-values of each defense against the next one below it; one fewer than there are defenses."""
    return holm([mcnemar(above, below) for above, below in pairwise(ordered)])


def rank_sets(ordered: Sequence[Bits], *, alpha: float = ALPHA) -> list[tuple[int, int]]:
    """(best, worst) rank that each defense may truly have, all of them at once with confidence 1 - alpha.

    ordered: (n,) bool each, best first. A defense ranks behind those significantly better than it and before those
    significantly worse, by McNemar tests of all pairs with Holm's correction (Mogstad, Romano, Shaikh & Wilhelm 2024).
    """
    places = len(ordered)
    if places < 2:
        return [(1, 1)] * places
    only = _discordant(ordered)
    first, second = np.triu_indices(places, 1)
    ahead, behind = only[first, second], only[second, first]
    differ = _significant(ahead, behind, alpha)
    winner, loser = np.where(ahead > behind, (first, second), (second, first))
    better, worse = (np.bincount(side[differ], minlength=places).tolist() for side in (loser, winner))
    return [(1 + better[place], places - worse[place]) for place in range(places)]


def _significant(ahead: NDArray[np.int64], behind: NDArray[np.int64], alpha: float) -> NDArray[np.bool_]:
    """Which pairs Holm's procedure rejects. Pairs whose Hoeffding bound passes even Bonferroni need no exact test."""
    clear = 2.0 * np.exp(-((ahead - behind) ** 2) / (2.0 * np.maximum(ahead + behind, 1))) < alpha / len(ahead)
    rejected: NDArray[np.bool_] = clear.copy()
    rejected[~clear] = np.asarray(holm(_p_values(ahead[~clear], behind[~clear]))) <= alpha
    return rejected


def _discordant(ordered: Sequence[Bits]) -> NDArray[np.int64]:
    """(k, k): how many examples the row's defense withstood and the column's did not."""
    kind = np.float32 if len(ordered[0]) < _EXACT else np.float64  # sums of 0 and 1 are exact, and floats multiply fastest
    stacked: NDArray[np.floating[Any]] = np.stack(ordered).astype(kind)
    both = (stacked @ stacked.T).astype(np.int64)
    return np.diag(both)[:, None] - both
