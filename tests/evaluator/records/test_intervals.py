"""Confidence intervals have the level that they are said to have."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from evaluator.records.intervals import clopper_pearson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3084971078),
        (10, 10, 0.6915028922, 1.0),
        (50, 100, 0.3983211296, 0.6016788704),
        (893, 1000, 0.8721713559, 0.9114795634),
    ],
)
def test_the_interval_is_that_of_published_tables_at_95_percent(successes: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(successes, trials) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_each_end_leaves_half_of_the_error_in_its_tail(confidence: float) -> None:
    low, high = clopper_pearson(37, 120, confidence=confidence)
    tails = (binom.sf(36, 120, low), binom.cdf(37, 120, high))
    assert tails == pytest.approx(((1 - confidence) / 2,) * 2)


def test_nothing_is_known_without_trials() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
