"""Whose turn it is among teams: a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a team has of the workers. running: shards being worked on; seconds: served within the last hour."""

    team: int
    running: int
    seconds: float


def fair_order(loads: Sequence[Load]) -> list[int]:
    """Teams, the least served first: by shards running now, then by time served, then by team."""
    return [load.team for load in sorted(loads, key=lambda load: (load.running, load.seconds, load.team))]
