"""Counting how often a model answers a fixed label under smoothing noise, for many examples in one device batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluator.certify.base import Model, labels
from evaluator.certify.binomial import Counts
from evaluator.certify.noise import Noise, block_draws

_CACHE = 1 << 18  # input values of one pass on a CPU: what follows stays in its cache, which is worth a third of the time
BLOCK = 50  # draws of one example that are made and looked at together


@dataclass(frozen=True)
class NoisyCounts:
    """Success counts of a real model: row i of `x` under block b of its own noise stream is called `y[i]` how often?

    x: (n, *shape) in [0, 1]; y: (n,) labels to count; ids: (n,) stable ids that key the noise; seed: the secret seed.
    """

    model: Model
    x: Tensor
    y: Tensor
    ids: Tensor
    noise: Noise
    seed: int
    block: int = BLOCK

    def __len__(self) -> int:
        return len(self.x)

    def __call__(self, examples: Counts, blocks: Counts) -> Counts:
        """examples, blocks: (slots,). Returns (slots,) successes of that block of `block` draws; one pass fills the device."""
        if self.x.device.type != "cpu" or not len(examples):
            return self._hits(examples, blocks)
        step = max(1, _CACHE // (self.block * self.x[0].numel()))
        pieces = range(0, len(examples), step)
        return np.concatenate([self._hits(examples[start : start + step], blocks[start : start + step]) for start in pieces])

    def _hits(self, examples: Counts, blocks: Counts) -> Counts:
        """The same in a single forward."""
        rows = torch.from_numpy(examples).to(self.x.device)
        draws = block_draws(self.seed, self.ids.to(self.x.device)[rows], torch.from_numpy(blocks).to(self.x.device))
        noisy = self.noise.sample(self.x[rows], draws, self.block)
        with torch.no_grad():
            called = labels(self.model(noisy.reshape(-1, *self.x.shape[1:])))
        hits = called.reshape(len(rows), self.block) == self.y[rows, None]
        return hits.sum(dim=1).cpu().numpy().astype(np.int64)
