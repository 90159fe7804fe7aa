"""Which cells come first: pure functions."""

from __future__ import annotations

from collections.abc import Mapping

REPLAY, ARRAY, CODE = 0, 1, 2
_STEP = 1_000_000


def urgency(kind: int, gap: int) -> int:
    """Lower is sooner: stored inputs before arrays before code (by cost), and then where the fewest breaks move a rank.

    gap: how many examples the defense may lose before the next one below it passes, at least 0.
    """
    return kind * _STEP + min(max(gap, 0), _STEP - 1)


def gaps(robust: Mapping[int, int]) -> dict[int, int]:
    """Defense -> examples it may lose before a rank moves. robust: defense -> examples it withstands.

    The last has nobody below it; it can only lose all it has.
    """
    ordered = sorted(robust, key=lambda defense: -robust[defense])
    below = [*(robust[defense] for defense in ordered[1:]), 0]
    return {defense: robust[defense] - below[place] for place, defense in enumerate(ordered)}
