"""Which cells come first, and whose."""

from __future__ import annotations

from arena.jobs.fairness import Load, fair_order
from arena.matrix.priorities import ARRAY, CODE, REPLAY, gaps, urgency


def test_a_gap_is_what_a_defense_may_lose_before_the_next_one_passes() -> None:
    assert gaps({1: 90, 2: 100, 3: 40}) == {2: 10, 1: 50, 3: 40}
    assert gaps({}) == {}


def test_cheap_kinds_come_before_dear_ones_and_small_gaps_before_large_ones() -> None:
    assert urgency(REPLAY, 9999) < urgency(ARRAY, 0) < urgency(ARRAY, 1) < urgency(CODE, 0) < urgency(CODE, 10**9)


def test_the_team_with_the_fewest_running_tasks_is_first_then_the_one_served_least() -> None:
    assert fair_order([Load(1, 2, 0.0), Load(2, 0, 50.0), Load(3, 0, 10.0), Load(4, 1, 0.0)]) == [3, 2, 4, 1]
