"""Binomial statistics behind every smoothing certificate: exact tails, Clopper-Pearson, and a test that may be peeked at.

Written for numpy arrays; everything broadcasts. k successes were seen in n independent Bernoulli(p) draws.
Source: Clopper and Pearson 1934; Ville 1939; the mixture below is derived here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

PRIOR = 1.0  # b of the mixing Beta(1, b); by simulation on released logs it hardly matters between 0.25 and 1


def down(values: npt.ArrayLike) -> Array:
    """`values` rounded towards -inf by more than scipy's special functions err (relative 1e-12, absolute 1e-15)."""
    array = np.asarray(values, dtype=np.float64)
    return array - (1e-12 * np.abs(array) + 1e-15)


def up(values: npt.ArrayLike) -> Array:
    """`values` rounded towards +inf by more than scipy's special functions err (relative 1e-12, absolute 1e-15)."""
    return -down(-np.asarray(values, dtype=np.float64))


def upper_tail(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> Array:
    """P(Binomial(n, p) >= k), the p-value of "the probability is at most p"; equals I_p(k, n - k + 1)."""
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = special.betainc(np.maximum(k, 1.0), np.maximum(n - k + 1, 1.0), np.asarray(p, dtype=np.float64))
    return np.asarray(np.where(k > 0, tail, 1.0))


def clopper_pearson_lower(k: npt.ArrayLike, n: npt.ArrayLike, alpha: float) -> Array:
    """The one-sided lower confidence bound of p at confidence 1 - alpha, rounded down; 0 where k = 0.

    It is the p whose upper tail P(Binomial(n, p) >= k) equals alpha: every smaller p is refuted at level alpha.
    """
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    bound = special.betaincinv(np.maximum(k, 1.0), n - k + 1, alpha)
    return np.maximum(down(np.where(k > 0, bound, 0.0)), 0.0)


def clopper_pearson_upper(k: npt.ArrayLike, n: npt.ArrayLike, alpha: float) -> Array:
    """The one-sided upper confidence bound of p at confidence 1 - alpha, rounded up; 1 where k = n."""
    n = np.asarray(n, dtype=np.float64)
    return 1.0 - clopper_pearson_lower(n - np.asarray(k, dtype=np.float64), n, alpha)


def log_evidence(k: npt.ArrayLike, n: npt.ArrayLike, p0: npt.ArrayLike, *, prior: float = PRIOR) -> Array:
    """log E_n(p0): evidence against "p <= p0" that may be looked at after every draw.

    For an alternative q > p0 the likelihood ratio (q/p0)^k ((1-q)/(1-p0))^(n-k) grows per draw, in expectation under the
    true p, by the factor p q/p0 + (1-p)(1-q)/(1-p0). It increases in p (as q/p0 > 1 > (1-q)/(1-p0)) and is 1 at p = p0.
    For every p <= p0 the ratio is a nonnegative supermartingale starting at 1, and so is any mixture over q. By Ville's
    inequality P(some n has E_n >= 1/alpha) <= alpha.

    The mixture is q = p0 + (1-p0) t with t ~ Beta(1, prior). As 1-q = (1-p0)(1-t),
        E_n(p0) = Integral (1 + t (1/p0 - 1))^k (1-t)^(n-k) dBeta(t),
    whose integrand falls in p0 for every t. Thresholds are refuted in increasing order. So one alpha covers all of them,
    and {p0 : E_n(p0) < 1/alpha} is an interval. In closed form, with B the beta function and I its regularised integral,
        E_n(p0) = prior B(k+1, n-k+prior) (1 - I_p0(k+1, n-k+prior)) / (p0^k (1-p0)^(n-k+prior)).

    p0 in (0, 1); prior > 0 (1 is uniform, smaller leans to p near 1). Underflow gives -inf: evidence is lost, never made.
    """
    k, n, p0 = (np.asarray(value, dtype=np.float64) for value in (k, n, p0))
    a, b = k + 1, n - k + prior
    with np.errstate(divide="ignore"):
        tail = np.log(special.betaincc(a, b, p0))
    return np.asarray(np.log(prior) + special.betaln(a, b) + tail - k * np.log(p0) - b * np.log1p(-p0))


def sequence_lower(k: npt.ArrayLike, n: npt.ArrayLike, alpha: float, *, prior: float = PRIOR, rounds: int = 60) -> Array:
    """A lower confidence bound of p that holds at all n at once with probability 1 - alpha, rounded down.

    It is the largest p0 with E_n(p0) >= 1/alpha, found by bisection (E_n falls in p0, see `log_evidence`); the refuted
    end of the bracket is returned. The bound exceeds the true p only if E_n(p) >= 1/alpha, which Ville's inequality caps.
    """
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    low, high = np.zeros(k.shape), np.maximum(k / np.maximum(n, 1), 1e-12)
    for _ in range(rounds):
        middle = np.maximum((low + high) / 2, 1e-300)
        refuted = log_evidence(k, n, np.minimum(middle, 1 - 1e-16), prior=prior) >= -np.log(alpha) + 1e-9
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return np.maximum(down(low), 0.0)
