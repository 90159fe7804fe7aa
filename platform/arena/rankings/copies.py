"""Which attacks hold a rank, where some repeat the results of others. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

COPY = 0.5  # of its results: an attack that repeats so many holds no rank beside the one that it repeats


def share_repeated(repeated: int, broken: int) -> float:
    """The share in [0, 1] of an attack's results that earlier entries had found."""
    return repeated / broken if broken else 0.0


def hold_ranks(
    keys: Sequence[tuple[float | None, ...]], foreign: Sequence[float], repeats: Sequence[Sequence[int]]
) -> list[bool]:
    """Which attacks hold a rank: no copies of other teams' entries, and of a team's that are alike the best alone.

    keys: what ranks them, lower is better, None after every number; foreign: the share of each attack's results that other
    teams' earlier entries had found; repeats: for each attack the places of its own team's entries that it is a copy of.
    A team may improve its attack: the better one takes the rank of the one before. Of equals it is the first.
    """
    family = list(range(len(keys)))
    for place, earlier in enumerate(repeats):
        joined = {family[other] for other in earlier} | {family[place]}
        family = [min(joined) if each in joined else each for each in family]
    best: dict[int, int] = {}
    for place in sorted(range(len(keys)), key=lambda place: (_comparable(keys[place]), place)):
        if foreign[place] < COPY:
            best.setdefault(family[place], place)
    return [best.get(family[place]) == place for place in range(len(keys))]


def _comparable(key: tuple[float | None, ...]) -> tuple[tuple[bool, float], ...]:
    return tuple((value is None, value if value is not None else 0.0) for value in key)
