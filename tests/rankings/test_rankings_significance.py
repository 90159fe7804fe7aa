"""Exact McNemar, Holm and rank sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import binomtest

from arena.rankings.bits import Bits
from arena.rankings.significance import against_neighbours, discordant_p_value, holm, mcnemar, rank_sets

ROWS = st.integers(1, 60).flatmap(lambda n: npst.arrays(bool, st.tuples(st.integers(2, 5), st.just(n))))


def first(robust: int, of: int = 1000) -> Bits:
    """Robust on the first `robust` examples."""
    return np.arange(of) < robust


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_examples(one: int, other: int) -> None:
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert discordant_p_value(one, other) == pytest.approx(expected, abs=1e-9)


def test_examples_on_which_both_agree_do_not_count() -> None:
    assert mcnemar(first(510), first(500)) == mcnemar(first(10), first(0)) == pytest.approx(2 / 2**10)


def test_holm_multiplies_the_smallest_the_most_and_never_goes_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert max(holm([0.9, 0.8])) == 1.0


def test_neighbours_are_compared_in_the_given_order() -> None:
    assert against_neighbours([first(500), first(400), first(399)]) == pytest.approx([0.0, 1.0], abs=1e-20)


def test_a_rank_set_holds_all_places_that_are_not_significantly_apart() -> None:
    assert rank_sets([first(900), first(502), first(501), first(500), first(100)]) == [(1, 1), (2, 4), (2, 4), (2, 4), (5, 5)]


def test_two_neighbours_may_differ_while_the_one_above_differs_from_neither() -> None:
    top = np.concatenate([np.arange(500) % 2 == 0, np.ones(45, bool), np.zeros(455, bool)])
    middle, low = first(290), first(270)
    assert rank_sets([top, middle, low]) == [(1, 3), (1, 2), (2, 3)]


def test_one_defense_alone_is_first() -> None:
    assert rank_sets([first(3)]) == [(1, 1)]
    assert rank_sets([]) == []


@given(ROWS, st.randoms())
def test_permuting_the_examples_changes_no_rank_set(rows: Bits, random: object) -> None:
    order = list(range(rows.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert rank_sets(list(rows)) == rank_sets(list(rows[:, order]))


@given(ROWS)
def test_an_observed_rank_lies_in_its_rank_set(rows: Bits) -> None:
    ordered = sorted(rows, key=lambda row: -int(row.sum()))
    assert all(best <= place <= worst for place, (best, worst) in enumerate(rank_sets(ordered), 1))


def test_rank_sets_are_those_of_holm_on_all_exact_p_values() -> None:
    """The bound that spares the exact test of clear pairs decides none otherwise."""
    draws = np.random.default_rng(0)
    for _ in range(60):
        rows = list(draws.random((5, 120)) < draws.uniform(0.3, 0.7, (5, 1)))
        pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
        adjusted = holm([mcnemar(rows[a], rows[b]) for a, b in pairs])
        better, worse = [0] * 5, [0] * 5
        for (a, b), value in zip(pairs, adjusted, strict=True):
            if value <= 0.05:
                winner, loser = (a, b) if rows[a].sum() > rows[b].sum() else (b, a)
                better[loser] += 1
                worse[winner] += 1
        assert rank_sets(rows) == [(1 + better[place], 5 - worse[place]) for place in range(5)]


def test_a_difference_at_alpha_itself_is_significant() -> None:
    one, other = first(300), first(292)
    assert rank_sets([one, other], alpha=mcnemar(one, other)) == [(1, 1), (2, 2)]
