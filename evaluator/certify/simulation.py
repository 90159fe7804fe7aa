"""Smoothing without a model: examples whose class probability is known draw Bernoulli samples.

Serves two purposes. One is to measure error rates where the truth is known. The other is to compare procedures on the
per-example certification logs that Cohen et al. released, from which the probabilities can be recovered.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special, stats

from evaluator.certify.binomial import Array, Counts, clopper_pearson_lower
from evaluator.errors import InputError


@dataclass(frozen=True)
class CertificationLog:
    """One released log: idx label predict radius correct time, tab-separated, one row per example.

    radius: (n,) L2 radii (0 where abstained or wrong in the aggregation's sense is not implied); correct: (n,) bool.
    """

    radius: Array
    correct: np.ndarray[tuple[int], np.dtype[np.bool_]]
    predict: Counts

    def probabilities(self, sigma: float, *, n: int = 100_000, alpha: float = 0.001) -> Array:
        """(n,) the share of noisy copies called by the true label, recovered from the radii.

        A correct row's radius is sigma Phi^-1(lower bound of k/n): k is found by inverting that bound. A wrong row has
        at most 1 - pA left for the true label; an abstained one is put at 1/2, the most it can plausibly have.
        """
        lower = special.ndtr(np.maximum(self.radius, 0.0) / sigma)
        grid = np.unique(np.concatenate([np.linspace(0.5, 0.99, 4901), 1 - np.geomspace(0.01, 1e-7, 4000), [1.0]]))
        share = np.interp(lower, clopper_pearson_lower(np.round(grid * n), n, alpha), grid)
        wrong = np.where(self.predict < 0, 0.5, 1.0 - share)
        return np.asarray(np.where(self.correct, share, wrong))


def read_log(path: Path) -> CertificationLog:
    """Reads a released log (.tsv or .tsv.gz). Raises InputError when a column is missing."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header, *rows = raw.decode("utf-8").splitlines()
    names = header.split("\t")
    if not {"predict", "radius", "correct"} <= set(names):
        raise InputError(f"has the columns {names}; predict, radius and correct are needed.", where=path.name)
    table = [row.split("\t") for row in rows if row]
    columns = {name: [row[names.index(name)] for row in table] for name in ("predict", "radius", "correct")}
    return CertificationLog(
        radius=np.array(columns["radius"], dtype=np.float64),
        correct=np.array(columns["correct"], dtype=np.int64) == 1,
        predict=np.array(columns["predict"], dtype=np.int64),
    )


@dataclass(frozen=True)
class BernoulliCounts:
    """Stands for a model in `SequentialTest.run`: example i succeeds with probability p[i]."""

    p: Array
    rng: np.random.Generator
    block: int

    def __call__(self, examples: Counts, blocks: Counts) -> Counts:
        return self.rng.binomial(self.block, self.p[examples]).astype(np.int64)


def cohen_radii(p: Array, sigma: float, rng: np.random.Generator, *, n: int = 100_000, alpha: float = 0.001) -> Array:
    """(n,) the radii Cohen's procedure with fixed n would find for classes of probability p; 0 where it abstains."""
    lower = clopper_pearson_lower(rng.binomial(n, p), n, alpha)
    return np.asarray(np.where(lower > 0.5, sigma * stats.norm.ppf(lower), 0.0))
