"""The order of defenses and of attacks, and the figures that make it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from arena.rankings.attacks import (
    CrossPlay,
    accuracy_left,
    all_unique_breaks,
    cross_play,
    dense_ranks,
    filled,
    success_per_pass,
)
from arena.rankings.bits import Bits, pack
from arena.rankings.copies import hold_ranks, share_repeated
from arena.rankings.defenses import (
    CertifiedScore,
    DefenseScore,
    order_by_corruptions,
    order_certified,
    order_defenses,
    show_rank_set,
)
from arena.rankings.optimality import envelope, gained, local_optimality

INF = float("inf")
BREAKS = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 20)).flatmap(lambda shape: npst.arrays(bool, shape))


DAY = datetime(2026, 11, 21, tzinfo=UTC)


def score(robust: float = 0.5, clean: float = 0.9, cost: int = 10, hours: int = 0) -> DefenseScore:
    return DefenseScore(robust, clean, cost, DAY + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (score(robust=0.51, clean=0.1), score(robust=0.5, clean=0.9)),
        (score(clean=0.91, cost=99), score(clean=0.9, cost=1)),
        (score(cost=9, hours=5), score(cost=10)),
        (score(hours=0), score(hours=1)),
    ],
)
def test_ties_are_decided_by_clean_accuracy_then_cost_then_entry(better: DefenseScore, worse: DefenseScore) -> None:
    assert order_defenses([worse, better]) == [1, 0]
    assert order_defenses([better, worse]) == [0, 1]


def test_by_corruptions_the_least_mce_comes_first_an_unknown_one_last_and_equals_as_ever() -> None:
    known = [replace(score(robust=robust), mce=mce) for robust, mce in ((0.9, None), (0.1, 0.8), (0.5, 0.9), (0.2, 0.8))]
    assert order_by_corruptions(known) == [3, 1, 2, 0]
    assert order_by_corruptions([score(cost=10), score(cost=9)]) == [1, 0]


def test_proofs_are_ordered_by_what_holds_at_epsilon_then_average_radius_then_entry() -> None:
    later = DAY + timedelta(hours=1)
    scores = [CertifiedScore(0.5, 0.2, later), CertifiedScore(0.5, 0.2, DAY), CertifiedScore(0.5, 0.3, later)]
    assert order_certified([*scores, CertifiedScore(0.6, 0.0, later)]) == [3, 2, 1, 0]


def test_a_rank_set_is_shown_as_a_range_unless_it_is_one_place() -> None:
    assert (show_rank_set((2, 4)), show_rank_set((3, 3))) == ("2–4", "3")


def test_a_missing_cell_counts_as_if_nothing_was_broken() -> None:
    assert cross_play([0.9, 0.8], [0.1, None]) == CrossPlay(mean=0.45, worst=0.8, played=1, targets=2)
    assert cross_play([0.9, 0.8], [None, None]) == CrossPlay(mean=None, worst=None, played=0, targets=2)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.integers(0, 5))
def test_losing_a_number_never_improves_an_attack(cells: list[tuple[float, float]], at: int) -> None:
    clean, left = [max(cell) for cell in cells], [min(cell) for cell in cells]
    before = cross_play(clean, left)
    lost = [None if index == at % len(cells) else value for index, value in enumerate(left)]
    after = cross_play(clean, lost)
    assert dense_ranks([(before.mean, before.worst), (after.mean, after.worst)])[0] == 1


def test_no_number_ranks_behind_every_number_and_equals_share_a_rank() -> None:
    assert dense_ranks([(None,), (0.9,), (0.1,), (0.9,)]) == [3, 2, 1, 2]


def packed(columns: Iterable[Sequence[Bits | None]]) -> list[list[bytes | None]]:
    return [[None if row is None else pack(row) for row in column] for column in columns]


def test_unique_breaks_are_those_of_nobody_else() -> None:
    mine, theirs = np.array([1, 1, 0], bool), np.array([0, 1, 1], bool)
    assert all_unique_breaks(packed([[mine, None], [theirs, theirs]])) == [1, 3]
    assert all_unique_breaks(packed([[mine, mine], [theirs, None]])) == [3, 1]


@given(BREAKS, st.integers(0, 3), st.data())
def test_counting_all_at_once_equals_counting_one_by_one(breaks: Bits, twin: int, data: st.DataObject) -> None:
    columns = [[row if data.draw(st.integers(0, 3)) else None for row in column] for column in breaks]
    columns.append([*columns[twin % len(columns)]])
    whole = packed(columns)
    one_by_one = [
        sum(
            broken is not None
            and broken[example]
            and not any(other[row] is not None and other[row][example] for other in columns if other is not column)
            for row, broken in enumerate(column)
            for example in range(breaks.shape[2])
        )
        for column in columns
    ]
    assert all_unique_breaks(whole) == one_by_one


def attack_ranks(columns: Sequence[Sequence[Bits]]) -> list[tuple[int, int]]:
    """(rank, unique breaks) of each attack on defenses that are right everywhere."""
    rows = len(columns[0])
    keys: list[tuple[float | None, ...]] = []
    for column in columns:
        play = cross_play([1.0] * rows, [1.0 - float(broken.mean()) for broken in column])
        keys.append((play.mean, play.worst))
    unique = all_unique_breaks(packed(columns))
    return list(zip(dense_ranks(keys), unique, strict=True))


@given(BREAKS, st.integers(0, 3))
def test_a_copy_changes_no_rank_and_no_unique_break_and_holds_no_rank(breaks: Bits, which: int) -> None:
    columns = [list(column) for column in breaks]
    copied = [np.zeros_like(row) for row in columns[which % len(columns)]]  # what it found itself
    before, after = attack_ranks(columns), attack_ranks([*columns, copied])
    assert [unique for _, unique in after] == [*(unique for _, unique in before), 0]
    keys: list[tuple[float | None, ...]] = [(float(rank),) for rank, _ in after]
    held = hold_ranks(keys, [0.0] * len(columns) + [1.0], [[]] * len(keys))
    assert held == [True] * len(columns) + [False]


def test_of_a_teams_entries_that_are_alike_the_best_holds_the_rank_and_of_equals_the_first() -> None:
    better = [(0.5,), (0.4,), (0.6,), (0.3,)]
    assert hold_ranks(better, [0.0] * 4, [[], [0], [1], []]) == [False, True, False, True]
    equal: list[tuple[float | None, ...]] = [(0.5,), (0.5,), (None,)]
    assert hold_ranks(equal, [0.0] * 3, [[], [0], [0]]) == [True, False, False]
    assert hold_ranks(equal, [0.5, 0.49, 0.0], [[], [0], [0]]) == [False, True, False], "half of others' results is a copy"


def test_a_defense_of_ones_own_team_is_filled_with_the_best_of_others_for_the_order_alone() -> None:
    left: list[list[float | None]] = [[None, 0.2], [0.7, 0.9], [0.4, None]]
    own = [[True, False], [False, False], [False, True]]
    assert filled([0.95, 0.9], left, own) == [[0.4, 0.2], [0.7, 0.9], [0.4, 0.2]]
    assert filled([0.95], [[None]], [[True]]) == [[0.95]], "where nobody else plays, nothing was broken"


def test_the_share_repeated_of_nothing_is_nothing() -> None:
    assert (share_repeated(0, 0), share_repeated(1, 4)) == (0.0, 0.25)


@given(BREAKS, st.randoms())
def test_permuting_the_examples_changes_no_figure_of_an_attack(breaks: Bits, random: object) -> None:
    order = list(range(breaks.shape[2]))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert attack_ranks([list(column) for column in breaks]) == attack_ranks([list(column) for column in breaks[:, :, order]])


def test_success_is_counted_per_thousand_rows_and_arrays_have_none() -> None:
    assert success_per_pass(30, 100, 6000) == 5.0
    assert success_per_pass(30, 100, 0) is None


def test_an_attack_on_the_envelope_is_optimal_and_one_that_breaks_nothing_is_not() -> None:
    close, far, none = np.array([0.05, INF]), np.array([0.15, 0.1]), np.array([INF, INF])
    best = envelope([close, far, none], 2)
    assert best.tolist() == [0.05, 0.1]
    assert local_optimality(gained(best, 0.2), gained(best, 0.2), 2) == 1.0
    assert local_optimality(gained(none, 0.2), gained(best, 0.2), 2) == 0.0
    assert local_optimality(gained(none, 0.2), gained(none, 0.2), 2) is None
    assert local_optimality(gained(best, None), gained(best, 0.2), 2) is None


def test_an_attack_that_stays_at_epsilon_takes_no_area_whatever_float32_made_of_its_distances() -> None:
    """One that broke 1 of 30 had 100 %, one that broke 30 had 0 %: of an envelope of rounding errors."""
    epsilon = 0.3
    one, all_thirty = np.full(30, INF), np.full(30, float(np.float32(0.3)))
    one[0] = float(np.nextafter(np.float32(0.3), np.float32(0)))
    best = envelope([one, all_thirty], 30)
    for distances in (one, all_thirty, best, np.array([epsilon - 9e-7, epsilon + 9e-7])):
        assert gained(distances, epsilon) == 0.0
        assert local_optimality(gained(distances, epsilon), gained(best, epsilon), 30) is None


@pytest.mark.parametrize(("distance", "figure"), [(0.2 - 0.3e-3, None), (0.2 - 1e-3, 1.0)])
def test_an_envelope_below_a_thousandth_of_the_budget_gives_no_figure(distance: float, figure: float | None) -> None:
    gain = gained(np.array([distance, distance, INF, INF]), 0.2)
    assert local_optimality(gain, gain, 4) == figure


def test_what_breaks_gain_is_what_the_area_lacks() -> None:
    """The area is the mean clipped distance, as a share of epsilon."""
    distances = np.array([0.1, 0.3, INF, 0.0])
    assert gained(distances, 0.2) == pytest.approx(4 - (0.5 + 1 + 1 + 0))
    assert gained(distances[[0, 1, 3]], 0.2) == gained(distances, 0.2), "unbroken examples may be left out"


@given(st.lists(st.lists(st.sampled_from([0.01, 0.05, 0.1, 0.3, INF]), min_size=3, max_size=3), min_size=2, max_size=5))
def test_improving_the_envelope_never_raises_an_attack(columns: list[list[float]]) -> None:
    arrays = [np.array(column) for column in columns]
    mine = gained(arrays[0], 0.2)
    before = local_optimality(mine, gained(envelope(arrays[:-1], 3), 0.2), 3)
    after = local_optimality(mine, gained(envelope(arrays, 3), 0.2), 3)
    assert before is None or (after is not None and after <= before + 1e-12)


def test_what_is_at_epsilon_is_so_within_rounding_and_no_farther() -> None:
    for epsilon, rounding in ((0.2, 1e-6), (2.0, 2e-6)):
        assert gained(np.array([epsilon - rounding * 1.0]), epsilon) == 0.0
        assert gained(np.array([epsilon - 0.75 * rounding]), epsilon) == 0.0
        assert gained(np.array([epsilon - 1.5 * rounding]), epsilon) > 0.0  # type: ignore[operator]


def test_a_threat_without_room_gives_nothing_to_gain() -> None:
    assert gained(np.array([0.0, np.inf]), 0.0) == 0.0


def test_optimality_needs_an_envelope_of_a_thousandth_and_is_at_most_one() -> None:
    assert local_optimality(0.001, 0.001, 1) == 1.0
    assert local_optimality(0.5, None, 2) is None
    assert local_optimality(2.0, 1.0, 3) == 1.0


def test_figures_of_attacks_at_their_edges() -> None:
    with pytest.raises(ValueError, match="zip"):
        cross_play([0.9, 0.8], [0.5])
    assert all_unique_breaks([]) == []
    assert success_per_pass(0, 0, 100) is None
    assert success_per_pass(1, 1, 100) == 10.0
    assert (accuracy_left(3, 4), accuracy_left(None, 4)) == (0.75, None)
