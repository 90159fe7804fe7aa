"""Confidence intervals for shares of examples. Torch-free."""

from __future__ import annotations

from scipy.stats import beta


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a binomial proportion (Clopper & Pearson 1934). (0, 1) for no trials."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high
