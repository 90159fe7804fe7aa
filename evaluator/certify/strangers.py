"""Noisy rows that know nothing of each other: a model is asked about them in a secret order and in passes of secret sizes.

A model that finds the copies of one image in a pass, by their place or by their distance, can average the noise away. It can
answer for all of them what it answers without noise, which is a certificate of nothing. A model that remembers earlier passes
can do the same. So the rows of a question (of one large image or of several small ones) are mixed, and some are kept. At the
end a fresh copy, which has seen none of them, is asked about those, alone and in other company. Labels that change void every
certificate.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from evaluator.certify.base import Model
from evaluator.models.leads import Leads
from evaluator.records.report import Flag

CHECK = "certificate-company"
FEW = 16  # rows of a question that is passed on as it is: so many are asked twice to see whether a model is deterministic
SMALLEST = 1 / 3  # of the rows of one question, in a pass
KEPT = 128  # rows that are kept for the fresh copy, drawn uniformly from all questions
TOGETHER = 16  # of the kept rows in one pass; half of them are asked alone
RESTLESS = 0.05  # of the lead: where it changes by more in most rows, the answers follow more than their row
TIES = 1 / 64  # of the kept rows: so many labels may change, since coarse arithmetic has ties


class Strangers:
    """A model whose rows are mixed before it sees them. Differentiable questions pass as they are: no count rests on them.

    seed: secret, of order, sizes and picks.
    """

    def __init__(self, model: Model, seed: int) -> None:
        self._model, self._dice = model, np.random.default_rng((seed + 13) % 2**63)
        self._kept: list[tuple[float, Tensor, Tensor]] = []  # key, row, logits: the rows with the largest random keys

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) -> (n, K), row by row what the model says."""
        if (torch.is_grad_enabled() and x.requires_grad) or len(x) <= FEW:
            return self._model(x)
        with torch.no_grad():
            logits = self._mixed(x)
        self._keep(x, logits)
        return logits

    def doubts(self, fresh: Model) -> list[Flag]:
        """An alarm where `fresh`, a copy that saw none of the rows, answers the kept ones otherwise."""
        if not self._kept:
            return []
        x, said = torch.stack([x for _, x, _ in self._kept]), torch.stack([logits for _, _, logits in self._kept])
        order = torch.from_numpy(self._dice.permutation(len(x))).to(x.device)
        half = len(order) // 2
        with torch.no_grad():
            now = torch.cat([fresh(x[part]) for part in (*order[:half].split(1), *order[half:].split(TOGETHER))])[
                order.argsort()
            ]
        changed, restless = _changes(said, now)
        if changed <= TIES * len(x) and not restless:
            return []
        found = f"{changed} of {len(x)} noisy inputs changed their label"
        if restless:
            found += " and most changed their leads" if changed else "; most changed their leads"
        evidence = f"{found} when a fresh copy was asked about them in other company. Every certificate is void."
        return [Flag(check=CHECK, severity="unverified", evidence=evidence)]

    def _mixed(self, x: Tensor) -> Tensor:
        order = torch.from_numpy(self._dice.permutation(len(x))).to(x.device)
        size = int(self._dice.integers(max(1, int(SMALLEST * len(x))), len(x) + 1))
        answers = torch.cat([self._model(x[part]) for part in order.split(size)])
        return answers[order.argsort()]

    def _keep(self, x: Tensor, logits: Tensor) -> None:
        """Each row gets a random key, and those with the largest stay: a uniform draw from all rows of all questions."""
        keys = self._dice.random(len(x))
        least = self._kept[-1][0] if len(self._kept) == KEPT else -1.0
        rows = [row for row in np.argsort(-keys)[:KEPT].tolist() if keys[row] > least]
        self._kept += [(float(keys[row]), x[row].clone(), logits[row].clone()) for row in rows]
        self._kept = sorted(self._kept, key=lambda kept: -kept[0])[:KEPT]


def _changes(said: Tensor, now: Tensor) -> tuple[int, bool]:
    """How many labels changed by more than the rest moves, and whether most leads moved. said, now (n, K)."""
    leads = Leads.of(said, now)
    restless = leads.moved > RESTLESS * (leads.before.abs() + leads.after.abs())
    return int(leads.changed.sum()), bool(restless.double().mean() > 1 / 2)
