"""Randomized smoothing by the published procedure: guess the class from n0 samples, bound its probability from n more.

The reference against which the sequential form is judged. Source: Cohen, Rosenfeld and Kolter 2019, "Certified
Adversarial Robustness via Randomized Smoothing", section 3.2.2 (CERTIFY), with pB = 1 - pA as there.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch, check_deterministic, labels
from evaluator.certify.binomial import clopper_pearson_lower
from evaluator.certify.noise import Gaussian, Noise, block_draws
from evaluator.errors import InputError


def class_counts(model: Model, x: Tensor, noise: Noise, seed: int, example: int, samples: int, batch: int) -> Tensor:
    """(K,) int64: how often each class is answered for `samples` noisy copies of the single input x (*shape)."""
    counts: Tensor | None = None
    ids = torch.tensor([example], dtype=torch.int64, device=x.device)
    for block, start in enumerate(range(0, samples, batch)):
        size = min(batch, samples - start)
        draws = block_draws(seed, ids, torch.tensor([block], dtype=torch.int64, device=x.device))
        with torch.no_grad():
            logits = model(noise.sample(x[None], draws, size)[0])
        called = labels(logits)
        found = torch.bincount(called[called >= 0], minlength=logits.shape[1])
        counts = found if counts is None else counts + found
    if counts is None:
        raise InputError("no samples were asked for.", help="n0 and n must be at least 1.")
    return counts.cpu()


def smoothing_cohen(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    sigma: float,
    seed: int,
    n0: int = 100,
    n: int = 100_000,
    alpha: float = 0.001,
    batch: int = 1000,
    noise: Noise | None = None,
    ids: Tensor | None = None,
) -> Certificates:
    """CERTIFY for every example: the class guessed from n0 samples, its probability bounded below from n others.

    x: (n, *shape) in [0, 1]; y: (n,) labels; seed: secret. The radius is that of the guessed class and counts (`certified`)
    only where the guess is y; `details["predicted"]` holds the guesses, -1 where the lower bound is below 1/2 (abstain).
    Raises InputError before any compute on wrong arguments or a base model that is not deterministic.
    """
    started = time.perf_counter()
    check_batch(x, y)
    if n0 < 1 or n < 1 or not 0 < alpha < 1:
        raise InputError(f"n0 and n must be positive and alpha lie in (0, 1), got {n0}, {n}, {alpha}.")
    noise = Gaussian(sigma) if noise is None else noise
    noise.check(x)
    ids = torch.arange(len(x)) if ids is None else ids
    if len(x):
        probe = block_draws(~seed, ids[:1].to(x.device), torch.zeros(1, dtype=torch.int64, device=x.device))
        check_deterministic(model, noise.sample(x[:1], probe, 16)[0])
    predicted, radius = torch.full((len(x),), -1), torch.zeros(len(x), dtype=torch.float64)
    for row, image in enumerate(x):
        guess = int(class_counts(model, image, noise, seed * 2, int(ids[row]), n0, batch).argmax())
        hits = int(class_counts(model, image, noise, seed * 2 + 1, int(ids[row]), n, batch)[guess])
        lower = clopper_pearson_lower(hits, n, alpha)
        if float(lower) > 0.5:
            predicted[row], radius[row] = guess, float(noise.radius(lower, image.numel()))
    correct = predicted == y.cpu()
    return Certificates(
        method="smoothing-cohen",
        norm="l2",
        radius=torch.where(correct, radius, 0.0),
        certified=correct & (radius > 0),
        abstained=predicted < 0,
        samples=torch.full((len(x),), n0 + n),
        seconds=time.perf_counter() - started,
        expected_false=alpha * len(x),
        details={"noise": noise.name, "sigma": sigma, "alpha": alpha, "n0": n0, "n": n, "predicted": predicted.tolist()},
    )
