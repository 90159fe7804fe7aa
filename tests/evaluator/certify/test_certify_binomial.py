"""Binomial bounds against SciPy's own distributions and root finder: tight from both sides, and rounded to the safe side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from evaluator.certify.binomial import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    down,
    log_evidence,
    sequence_lower,
    up,
    upper_tail,
)


def test_the_tail_is_scipys_at_every_count() -> None:
    for n in (1, 2, 7, 60):
        k = np.arange(n + 1)
        for p in (0.0, 0.05, 0.5, 0.93, 1.0):
            np.testing.assert_allclose(upper_tail(k, n, p), stats.binom.sf(k - 1, n, p), rtol=1e-12, atol=1e-300)


def test_rounding_goes_past_the_value_and_no_farther_than_it_says() -> None:
    values = np.array([-3.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 1e6])
    slack = 1e-12 * np.abs(values) + 1e-15
    for rounded, sign in ((down(values), -1), (up(values), 1)):
        assert (sign * (rounded - values) >= 0.5 * slack).all()
        assert (sign * (rounded - values) <= 2 * slack + 1e-10 * np.abs(values) * (np.abs(values) > 1e3)).all()


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
def test_both_clopper_pearson_bounds_agree_with_scipys_quantiles(alpha: float) -> None:
    for n in (1, 10, 1000):
        k = np.unique(np.linspace(0, n, 7).astype(int))
        lower, upper = clopper_pearson_lower(k, n, alpha), clopper_pearson_upper(k, n, alpha)
        exact_lower = np.where(k > 0, stats.beta.ppf(alpha, np.maximum(k, 1), n - k + 1), 0.0)
        exact_upper = np.where(k < n, stats.beta.ppf(1 - alpha, k + 1, np.maximum(n - k, 1)), 1.0)
        np.testing.assert_allclose(lower, exact_lower, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(upper, exact_upper, rtol=0, atol=2e-12)
        assert (lower <= exact_lower).all()
        assert (upper >= exact_upper - 1e-16).all()
        assert (lower[0], upper[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("prior", [0.25, 1.0, 2.0])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (5, 5), (8, 10), (950, 1000), (520, 1000), (99_990, 100_000)])
def test_the_sequences_bound_is_the_threshold_at_which_the_evidence_is_just_enough(k: int, n: int, prior: float) -> None:
    alpha = 0.01
    bound = float(sequence_lower(k, n, alpha, prior=prior))

    def spare(p0: float) -> float:
        return float(log_evidence(k, n, p0, prior=prior)) + np.log(alpha)

    exact = float(optimize.brentq(spare, 1e-12, k / n - 1e-12, xtol=1e-15))
    assert exact - 1e-9 <= bound <= exact
    assert spare(bound) >= 0


def test_without_a_success_or_without_enough_of_them_nothing_is_bounded() -> None:
    assert sequence_lower(0, 50, 0.01).tolist() == 0.0
    assert sequence_lower([0, 0], [0, 3], 0.01).tolist() == [0.0, 0.0]
    assert 0 < float(sequence_lower(1, 1, 0.01)) < 0.01


def test_the_bound_halves_its_error_each_round() -> None:
    exact = float(sequence_lower(80, 100, 0.01))
    for rounds in (5, 10, 20):
        assert exact - 0.8 * 2.0**-rounds <= float(sequence_lower(80, 100, 0.01, rounds=rounds)) <= exact
