"""Which differences between defenses are more than luck: exact McNemar tests with Holm's correction. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from arena.rankings.bits import Bits

ALPHA = 0.05


def mcnemar(first: Bits, second: Bits) -> float:
    """The exact two-sided p-value that two defenses are equally robust on the same examples (McNemar 1947).

    Only examples on which they differ count: under the null each is a fair coin. 1 when they never differ.
    """
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    return discordant_p_value(only_first, only_second)


def discordant_p_value(only_first: int, only_second: int) -> float:
    """`mcnemar` from the two counts of examples that only one of the defenses withstood."""
    return min(1.0, 2.0 * float(binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): all that stay at or below alpha are true at once with confidence 1 - alpha."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


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
    pairs = list(combinations(range(places), 2))
    adjusted = holm([discordant_p_value(int(only[i, j]), int(only[j, i])) for i, j in pairs])
    better, worse = [0] * places, [0] * places
    for (i, j), p_value in zip(pairs, adjusted, strict=True):
        if p_value <= alpha:
            winner, loser = (i, j) if only[i, j] > only[j, i] else (j, i)
            better[loser] += 1
            worse[winner] += 1
    return [(1 + better[place], places - worse[place]) for place in range(places)]


def _discordant(ordered: Sequence[Bits]) -> NDArray[np.int64]:
    """(k, k): how many examples the row's defense withstood and the column's did not."""
    stacked = np.stack(ordered).astype(np.float64)  # products of 0 and 1 are exact, and use the machine's fast product
    both = stacked @ stacked.T
    return (np.diag(both)[:, None] - both).round().astype(np.int64)
