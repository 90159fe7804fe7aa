"""Randomized smoothing with a sequential test: Cohen's guarantee at the board's radii for a fraction of the samples.

Cohen et al. 2019 first guess the class and then spend n samples on every example to bound its probability. The scorer
knows the label, so the class is fixed before sampling and what a board asks is only this. Which of its radii r hold, that is,
for which r is p_y > Phi(r / sigma)? Each is a one-sided binomial test, and most are decided by a few hundred samples.

Two tests share an example's alpha (union bound, 0.1 + 0.9). They are the mixture martingale `log_evidence`, which may be looked
at after every block (Ville's inequality), and a Clopper-Pearson test at exactly n samples. Both refute nested thresholds
in increasing order with one alpha for all of them. If the true p lies between two thresholds, a false certificate means
refuting the smallest threshold above p. That happens with probability <= 0.1 alpha by the first test and <= 0.9 alpha
by the second. An example leaves as soon as every radius is decided. Giving up on a radius early costs certificates,
never soundness, and is done when the terminal test's success lies more than `patience` standard deviations away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from evaluator.certify.base import Certificates, Model, check_batch, check_deterministic
from evaluator.certify.binomial import PRIOR, Array, Counts, log_evidence, upper_tail
from evaluator.certify.noise import Gaussian, Noise, block_draws
from evaluator.certify.sampling import BLOCK, NoisyCounts
from evaluator.errors import InputError

EARLY_SHARE = 0.1  # of alpha, for the test that may be peeked at; the rest goes to the terminal test

CountBlocks = Callable[[Counts, Counts], Counts]


@dataclass(frozen=True)
class SequentialTest:
    """Which of the nested claims "p > thresholds[j]" are proved for one example at error probability alpha.

    thresholds: (m,) increasing, in (0, 1]. n: most samples per example. alpha: chance of any false claim about
    one example. patience: standard deviations of the predicted terminal count at which a claim is given up.
    """

    thresholds: Array
    n: int = 100_000
    alpha: float = 0.001
    patience: float = 2.25
    early_share: float = EARLY_SHARE
    prior: float = PRIOR

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and self.n >= 1 and 0 <= self.early_share < 1):
            raise InputError(f"alpha must lie in (0, 1) and n be positive, got alpha = {self.alpha}, n = {self.n}.")
        if len(self.thresholds) == 0 or bool(np.any(np.diff(self.thresholds) < 0)) or float(self.thresholds[0]) <= 0:
            raise InputError("thresholds must be positive and increasing.", help="List the radii in increasing order.")

    @cached_property
    def terminal_counts(self) -> Counts:
        """(m,) the least successes among n with which the terminal test proves each claim; n + 1 where none does."""
        late = (1 - self.early_share) * self.alpha
        guess = np.asarray(stats.binom.isf(late, self.n, self.thresholds), dtype=np.int64)
        counts = np.full(len(self.thresholds), self.n + 1, dtype=np.int64)
        for offset in (2, 1, 0, -1):
            trial = np.minimum(guess + offset, self.n)
            counts = np.where(upper_tail(trial, self.n, self.thresholds) <= late, np.minimum(counts, trial), counts)
        return counts

    def start(self, examples: int) -> Progress:
        """The state of `examples` untested examples."""
        ceiling = int((self.terminal_counts <= self.n).sum())
        zeros = np.zeros(examples, dtype=np.int64)
        return Progress(zeros.copy(), zeros.copy(), zeros.copy(), np.full(examples, ceiling, dtype=np.int64), zeros.copy())

    def update(self, state: Progress, rows: Counts, successes: Counts, draws: int) -> None:
        """Adds `draws` samples with (len(rows),) successes to examples `rows` and settles what can be settled."""
        state.k[rows] += successes
        state.n[rows] += draws
        k, n = state.k[rows, None], state.n[rows, None]
        counts = self.terminal_counts[None, :]
        proved = np.zeros((len(rows), len(self.thresholds)), dtype=bool)
        if self.early_share > 0:
            inside = np.minimum(self.thresholds, 1 - 1e-16)[None, :]
            bar = -np.log(self.early_share * self.alpha) + 1e-9
            proved = (log_evidence(k, n, inside, prior=self.prior) >= bar) & (self.thresholds < 1)[None, :]
        proved |= (n == self.n) & (k >= counts)
        left = self.n - n
        # On the arcsine scale, shares of n and of all self.n draws differ by a normal of variance 1/n - 1/self.n.
        gap = _arcsine(counts, np.asarray(self.n)) - _arcsine(k, n)
        hopeless = (counts > k + left) | (gap > self.patience * np.sqrt(1 / n - 1 / self.n)) | (left == 0)
        # Nested claims: the first one not proved bounds what is proved, the first hopeless one what ever can be.
        state.proved[rows] = np.maximum(state.proved[rows], np.where(proved.all(1), proved.shape[1], proved.argmin(1)))
        hopeless &= np.arange(len(self.thresholds))[None, :] >= state.proved[rows, None]
        first = np.where(hopeless.any(1), hopeless.argmax(1), len(self.thresholds))
        state.ceiling[rows] = np.maximum(np.minimum(state.ceiling[rows], first), state.proved[rows])

    def run(self, count: CountBlocks, examples: int, *, slots: int, block: int = BLOCK) -> Progress:
        """Tests all examples, `slots` blocks of `block` draws per call of `count`; finished ones make room for the next.

        An example's verdict depends on its own blocks only: they are settled one by one in order, whatever else is in the
        batch. When fewer examples than slots remain, each gets several blocks a call, so the device stays full.
        """
        if self.n % block:
            raise InputError(f"n = {self.n} is not a multiple of the block of {block} draws.")
        state, waiting, active = self.start(examples), 0, np.zeros(0, dtype=np.int64)
        while True:
            active = active[state.proved[active] < state.ceiling[active]]
            room = slots - len(active)
            active = np.concatenate([active, np.arange(waiting, min(waiting + room, examples))])
            waiting = min(waiting + room, examples)
            active = active[state.proved[active] < state.ceiling[active]]
            if not len(active):
                if waiting == examples:
                    return state
                continue
            each = max(1, slots // len(active))
            each = min(each, int((self.n - state.n[active]).max()) // block)
            successes = count(np.repeat(active, each), (state.n[active, None] // block + np.arange(each)).reshape(-1))
            state.spent[active] += each * block
            for column in successes.reshape(len(active), each).T:
                open_ = (state.proved[active] < state.ceiling[active]) & (state.n[active] < self.n)
                if open_.any():
                    self.update(state, active[open_], column[open_], block)


def _arcsine(k: Counts, n: Counts) -> Array:
    """The variance-stabilised share of successes (Anscombe 1948): variance 1/n whatever the probability."""
    return np.asarray(2 * np.arcsin(np.sqrt(np.minimum((k + 0.375) / (n + 0.75), 1.0))))


@dataclass
class Progress:
    """Running state, (examples,) each: successes k of n settled draws, claims proved so far, how many can still be proved
    (ceiling), and draws spent, which exceed n where a batch held more blocks than were needed."""

    k: Counts
    n: Counts
    proved: Counts
    ceiling: Counts
    spent: Counts


def smoothing_sequential(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    sigma: float,
    radii: tuple[float, ...],
    seed: int,
    n: int = 100_000,
    alpha: float = 0.001,
    batch: int = 1000,
    noise: Noise | None = None,
    ids: Tensor | None = None,
) -> Certificates:
    """Certifies that the smoothed classifier answers y within each of `radii` (L2), largest proved radius per example.

    x: (n, *shape) in [0, 1]; y: (n,) labels; radii: increasing, >= 0 (0: it answers y at x itself); seed: secret, drawn
    after submission; batch: model rows per forward; noise: default Gaussian(sigma). An example is
    abstained when not even the smallest radius is proved.
    Raises InputError before any compute on wrong arguments or a base model that is not deterministic.
    """
    started = time.perf_counter()
    check_batch(x, y)
    noise = Gaussian(sigma) if noise is None else noise
    noise.check(x)
    dimension = x[0].numel() if len(x) else 1
    test = SequentialTest(noise.threshold(np.asarray(radii, dtype=np.float64), dimension), n=n, alpha=alpha)
    ids = torch.arange(len(x)) if ids is None else ids
    source = NoisyCounts(model, x, y.to(x.device), ids, noise, seed)
    if len(x):
        probe = block_draws(~seed, ids[:1].to(x.device), torch.zeros(1, dtype=torch.int64, device=x.device))
        check_deterministic(model, noise.sample(x[:1], probe, 16)[0])
    state = test.run(source, len(x), slots=max(1, batch // source.block))
    steps = np.concatenate([[0.0], np.asarray(radii, dtype=np.float64)])
    proved = torch.from_numpy(state.proved)
    radius = torch.from_numpy(steps)[proved]
    return Certificates(
        method="smoothing",
        norm="l2",
        radius=radius,
        certified=proved > 0,
        abstained=proved == 0,
        samples=torch.from_numpy(state.spent.copy()),
        seconds=time.perf_counter() - started,
        expected_false=alpha * len(x),
        details={"noise": noise.name, "sigma": sigma, "alpha": alpha, "n": n, "radii": list(radii)},
    )
