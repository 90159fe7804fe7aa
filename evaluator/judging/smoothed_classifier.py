"""The smoothed classifier as one of its own: which labels it verifiably gets wrong, and an attack on it.

g(x) = the class that the base model answers most often under noise cannot be evaluated, only sampled. An answer counts as
wrong when an exact binomial test says so, never because of one unlucky vote.
"""

from __future__ import annotations

from dataclasses import dataclass

import scipy
import torch
from torch import Tensor

from evaluator.adaptive.eot import EOT
from evaluator.adaptive.relentless import Relentless
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.certify.base import labels
from evaluator.certify.noise import Noise, block_draws, normal
from evaluator.data.tensors import Examples
from evaluator.draws import Draws
from evaluator.threats.base import Threat

LEVEL = 1e-4  # chance that a right answer is called wrong
_ATTACK = Relentless(steps=20, loss="margin")
_PASSES = 8  # noisy passes averaged per step of the attack
_BLOCK = 100  # noisy copies of one input drawn together
_BLOCKS = 20  # of them, for a test whose outcome is open
_ROWS = 1000  # of a forward pass
_CLEAR = 0.2  # lead, in shares of the first block, with which a label needs no test


@dataclass(frozen=True)
class SmoothedClassifier:
    """The majority vote of `model` under `noise`. seed: keys all sampling, with the examples' ids."""

    model: Model
    noise: Noise
    seed: int

    def wrong(self, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """(n,) bool: it verifiably answers another class than y at x.

        The rival is fixed by a first block of draws; whether it beats y is tested on others, at LEVEL. A clear lead of y in
        the first block ends it: giving up on a test never calls an answer wrong.
        """
        found = torch.zeros(len(x), dtype=torch.bool)
        first = self._counts(x, ids, range(1))
        own = first.gather(1, y[:, None]).squeeze(1)
        others = first.scatter(1, y[:, None], -1)
        rival, lead = others.argmax(dim=1), own - others.amax(dim=1)
        rows = (lead < _CLEAR * _BLOCK).nonzero().squeeze(1)
        counts = self._counts(x[rows], ids[rows], range(1, _BLOCKS + 1))
        for row, count in zip(rows.tolist(), counts, strict=True):
            mine, theirs = int(count[y[row]]), int(count[rival[row]])
            found[row] = bool(scipy.stats.binom.cdf(mine, mine + theirs, 0.5) < LEVEL)
        return found

    def attacked(self, examples: Examples, threat: Threat, attack: Attack = _ATTACK) -> Tensor:
        """One point of `threat` for each example: climbs the mean logits over the noise (Salman et al. 2019, sec. 2.2)."""

        def noisy(x: Tensor, draws: Draws) -> Tensor:
            return x + self.noise.sigma * normal(draws, *x.shape[1:]).to(x.dtype)

        batch = Batch(examples.x, examples.y, Draws(self.seed, examples.ids).fork("witness"))
        points = attack.run(EOT(self.model, _PASSES, transformation=noisy, seed=self.seed), batch, threat)
        return (points * 255).round() / 255 if self.noise.name.startswith("quantized") else points

    def _counts(self, x: Tensor, ids: Tensor, blocks: range) -> Tensor:
        """(n, K): how often each class is answered in these blocks of draws, many inputs in one pass."""
        together = max(1, _ROWS // _BLOCK)
        totals: list[Tensor] = []
        for start in range(0, len(x), together):
            part, keys = x[start : start + together], ids[start : start + together]
            total = torch.zeros(len(part), 0, dtype=torch.int64)
            for block in blocks:
                draws = block_draws(self.seed ^ 0x57171E55, keys, torch.full_like(keys, block))
                noisy = self.noise.sample(part, draws, _BLOCK)
                with torch.no_grad():
                    logits = self.model(noisy.flatten(0, 1))
                classes = torch.arange(logits.shape[1], device=logits.device)
                votes = (labels(logits)[:, None] == classes).long().cpu()
                votes = votes.reshape(len(part), _BLOCK, -1).sum(dim=1)
                total = votes if block == blocks.start else total + votes
            totals.append(total)
        return torch.cat(totals) if totals else torch.zeros(0, 1, dtype=torch.int64)
