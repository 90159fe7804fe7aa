"""Confidence intervals for shares of examples. Torch-free."""

from __future__ import annotations

import scipy  # its parts load when first used: stats alone takes a second, and most processes never ask


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a binomial proportion (Clopper & Pearson 1934). (0, 1) for no trials."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(scipy.stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(scipy.stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high
