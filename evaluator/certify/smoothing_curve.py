"""Randomized smoothing for the whole curve: a radius per example from a confidence sequence, no radii fixed beforehand.

The label is fixed before sampling. So its probability p is bounded below at every moment by the confidence sequence
`sequence_lower` (Ville) at 0.1 alpha and, at n samples, by Clopper-Pearson at 0.9 alpha. The better of the two bounds is
right with probability 1 - alpha whenever sampling stops. It stops for an example when its radius can hardly grow further:
when the radius that the samples would give if their share of successes persisted to n exceeds the proved one by at most
`tolerance` * sigma, or when p is surely too small for any radius.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch, check_deterministic
from evaluator.certify.binomial import Array, Counts, clopper_pearson_lower, clopper_pearson_upper, sequence_lower
from evaluator.certify.noise import Gaussian, Noise, block_draws
from evaluator.certify.sampling import BLOCK, NoisyCounts
from evaluator.certify.smoothing_sequential import EARLY_SHARE, CountBlocks
from evaluator.errors import InputError

_HOPELESS = 1e-4  # chance at which the upper bound of p is taken when giving up; affects no certificate


@dataclass(frozen=True)
class CurveResult:
    """(n,) arrays: proved lower bound of p, samples used."""

    lower: Array
    samples: Counts


def checkpoints(n: int, block: int) -> list[int]:
    """Sample sizes at which bounds are looked at: growing by a quarter, multiples of `block`, ending at n."""
    sizes = [block]
    while sizes[-1] < n:
        sizes.append(min(n, max(sizes[-1] + block, sizes[-1] * 5 // 4 // block * block)))
    return sizes


def run_curve(
    count: CountBlocks, examples: int, noise: Noise, dimension: int, *, n: int, alpha: float, tolerance: float, slots: int
) -> CurveResult:
    """Bounds p for every example; `count` draws BLOCK samples per (example, block), `slots` of them a call."""
    k, lower, samples = np.zeros(examples, np.int64), np.zeros(examples), np.zeros(examples, np.int64)
    active, done = np.arange(examples), 0
    for size in checkpoints(n, BLOCK):
        blocks = np.arange(done // BLOCK, size // BLOCK)
        rows, columns = np.repeat(active, len(blocks)), np.tile(blocks, len(active))
        for start in range(0, len(rows), slots):
            part = slice(start, start + slots)
            np.add.at(k, rows[part], count(rows[part], columns[part]))
        done, seen = size, k[active]
        proved = sequence_lower(seen, size, EARLY_SHARE * alpha)
        if size == n:
            proved = np.maximum(proved, clopper_pearson_lower(seen, n, (1 - EARLY_SHARE) * alpha))
        lower[active] = np.maximum(lower[active], proved)
        samples[active] = size
        hoped = clopper_pearson_lower(np.round(seen / size * n), n, (1 - EARLY_SHARE) * alpha)
        gain = noise.radius(hoped, dimension) - noise.radius(lower[active], dimension)
        hopeless = clopper_pearson_upper(seen, size, _HOPELESS) <= 0.5
        active = active[(gain > tolerance * noise.sigma) & ~hopeless]
        if not len(active):
            break
    return CurveResult(lower, samples)


def smoothing_curve(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    sigma: float,
    seed: int,
    n: int = 100_000,
    alpha: float = 0.001,
    tolerance: float = 0.05,
    batch: int = 1000,
    noise: Noise | None = None,
    ids: Tensor | None = None,
) -> Certificates:
    """A radius for every example, within about tolerance * sigma of what n samples would give.

    Arguments as in `smoothing_sequential`; raises InputError before any compute on wrong arguments.
    """
    started = time.perf_counter()
    check_batch(x, y)
    if n % BLOCK or not 0 < alpha < 1 or tolerance < 0:
        raise InputError(f"n must be a multiple of {BLOCK}, alpha in (0, 1), tolerance >= 0; got {n}, {alpha}, {tolerance}.")
    noise = Gaussian(sigma) if noise is None else noise
    noise.check(x)
    ids = torch.arange(len(x)) if ids is None else ids
    if len(x):
        probe = block_draws(~seed, ids[:1].to(x.device), torch.zeros(1, dtype=torch.int64, device=x.device))
        check_deterministic(model, noise.sample(x[:1], probe, 16)[0])
    dimension = x[0].numel() if len(x) else 1
    source = NoisyCounts(model, x, y.to(x.device), ids, noise, seed)
    slots = max(1, batch // BLOCK)
    found = run_curve(source, len(x), noise, dimension, n=n, alpha=alpha, tolerance=tolerance, slots=slots)
    radius = torch.from_numpy(noise.radius(found.lower, dimension))
    return Certificates(
        method="smoothing-curve",
        norm="l2",
        radius=radius,
        certified=radius > 0,
        abstained=radius == 0,
        samples=torch.from_numpy(found.samples),
        seconds=time.perf_counter() - started,
        expected_false=alpha * len(x),
        details={"noise": noise.name, "sigma": sigma, "alpha": alpha, "n": n, "tolerance": tolerance},
    )
