"""How attacks rank among each other: what they leave standing. Pure functions.

A column of the matrix is one attack's breaks: per standing defense the packed bits of the examples it broke, None for a cell
that is not played yet or failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.rankings.bits import count


def accuracy_left(left: int | None, examples: int) -> float | None:
    """The share in [0, 1] of examples that a defense gets right under this attack alone; lower is better for the attack.

    left: how many they are, None for a cell that is not played or failed.
    """
    return None if left is None else left / examples


@dataclass(frozen=True)
class CrossPlay:
    """An attack against all standing defenses. mean, worst: of the accuracies it leaves; None when it played none.

    played: cells with a number, of `targets`.
    """

    mean: float | None
    worst: float | None
    played: int
    targets: int


def cross_play(clean: Sequence[float], left: Sequence[float | None]) -> CrossPlay:
    """clean: each defense's accuracy without attack; left: under this attack, None for n/a.

    A missing cell counts as if nothing had been broken there, so that n/a never helps. worst: the most that the attack left
    any defense (its weakest game).
    """
    played = sum(1 for value in left if value is not None)
    if not played:
        return CrossPlay(None, None, 0, len(left))
    counted = [unbroken if value is None else value for unbroken, value in zip(clean, left, strict=True)]
    return CrossPlay(sum(counted) / len(counted), max(counted), played, len(left))


def filled(
    clean: Sequence[float], left: Sequence[Sequence[float | None]], own: Sequence[Sequence[bool]]
) -> list[list[float | None]]:
    """The accuracies left by each attack on each defense, with the best of others where the defense is its own team's.

    For the order alone: nobody gains or loses a place by what defenses the team has. clean: of each defense; left, own: one row
    an attack.
    """
    best: list[float | None] = []
    for at, unbroken in enumerate(clean):
        others = [row[at] for row, mine in zip(left, own, strict=True) if not mine[at]]
        best.append(min((share for share in others if share is not None), default=unbroken))
    return [[best[at] if mine[at] else row[at] for at in range(len(clean))] for row, mine in zip(left, own, strict=True)]


def all_unique_breaks(columns: Sequence[Sequence[bytes | None]]) -> list[int]:
    """How many (defense, example) pairs each attack broke and no other did: one pass over the matrix.

    columns: per attack the packed bits of what it found itself on each defense, None for a cell that is not played or that
    counts in none of its figures. What repeats an earlier entry is left out of them, and so takes nothing from that one.
    """
    total = [0] * len(columns)
    for row in range(len(columns[0]) if columns else 0):
        packed = {place: _array(column[row]) for place, column in enumerate(columns) if column[row] is not None}
        if not packed:
            continue
        once = np.zeros_like(next(iter(packed.values())))
        twice = once.copy()
        for broken in packed.values():
            twice |= once & broken
            once |= broken
        for place, broken in packed.items():
            total[place] += count((broken & ~twice).tobytes())
    return total


def _array(packed: bytes | None) -> NDArray[np.uint8]:
    return np.frombuffer(packed or b"", dtype=np.uint8)


def success_per_pass(broken: int, attempted: int, rows: int) -> float | None:
    """Share of attempted examples broken, for every 1,000 model rows spent on one; None without attempts or rows.

    rows: weighted (`evaluator.records.cost`), over all attempted examples.
    """
    return None if attempted == 0 or rows == 0 else 1000 * broken / rows


def dense_ranks(keys: Sequence[tuple[float | None, ...]]) -> list[int]:
    """Rank of each key, lower keys first, equal keys sharing a rank and leaving no gap; None is after every number.

    Dense, so that entering an attack a second time moves nobody.
    """
    comparable = [tuple((value is None, value if value is not None else 0.0) for value in key) for key in keys]
    place = {key: rank for rank, key in enumerate(sorted(set(comparable)), 1)}
    return [place[key] for key in comparable]
