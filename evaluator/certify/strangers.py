"""Noisy rows that know nothing of each other: a model is asked about them in a secret order and in passes of secret sizes.

A model that finds the copies of one image in a pass, by their place or by their distance, can average the noise away and answer
for all of them what it answers without noise: a certificate of nothing. So the rows of a question (of one large image or of
several small ones) are mixed, and some are asked again later, alone or among rows of other questions. A label
that changes then, beyond a tie, voids the certificate.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from evaluator.certify.base import Model
from evaluator.records.report import Flag

CHECK = "certificate-company"
FEW = 16  # rows of a question that is passed on as it is: so many are asked twice to see whether a model is deterministic
SMALLEST = 1 / 3  # of the rows of one question, in a pass
PICKED = 2  # rows of a question that are asked again later
TOGETHER = 16  # rows that wait to be asked again, at most; half of the time each of them is asked alone
TIE = 0.02  # of the spread of a row's logits: labels closer than that may change by rounding


class Strangers:
    """A model whose rows are mixed before it sees them. Differentiable questions pass as they are: no count rests on them.

    seed: secret, of order, sizes and picks.
    """

    def __init__(self, model: Model, seed: int) -> None:
        self._model, self._dice = model, np.random.default_rng((seed + 13) % 2**63)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self.again, self.changed = 0, 0

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) -> (n, K), row by row what the model says."""
        if (torch.is_grad_enabled() and x.requires_grad) or len(x) <= FEW:
            return self._model(x)
        with torch.no_grad():
            logits = self._mixed(x)
        for row in self._dice.integers(0, len(x), PICKED).tolist():
            self._waiting.append((x[row].clone(), logits[row].clone()))
        if len(self._waiting) >= TOGETHER:
            self.ask_again()
        return logits

    def ask_again(self) -> None:
        """Asks the rows that wait once more, and counts the labels that changed."""
        if not self._waiting:
            return
        x, said = torch.stack([x for x, _ in self._waiting]), torch.stack([logits for _, logits in self._waiting])
        self._waiting = []
        order = torch.from_numpy(self._dice.permutation(len(x))).to(x.device)
        parts = order.split(1) if self._dice.random() < 1 / 2 else (order,)
        with torch.no_grad():
            now = torch.cat([self._model(x[part]) for part in parts])[order.argsort()]
        self.again += len(x)
        self.changed += int((_decided(said) & _decided(now) & (said.argmax(dim=1) != now.argmax(dim=1))).sum())

    @property
    def flags(self) -> list[Flag]:
        """An alarm where a label depended on the company of its row."""
        if not self.changed:
            return []
        evidence = f"{self.changed} of {self.again} noisy inputs changed their label when asked again in other company."
        return [Flag(check=CHECK, severity="unverified", evidence=f"{evidence} Every certificate is void.")]

    def _mixed(self, x: Tensor) -> Tensor:
        order = torch.from_numpy(self._dice.permutation(len(x))).to(x.device)
        size = int(self._dice.integers(max(1, int(SMALLEST * len(x))), len(x) + 1))
        answers = torch.cat([self._model(x[part]) for part in order.split(size)])
        return answers[order.argsort()]


def _decided(logits: Tensor) -> Tensor:
    """(n,) bool: the label is no tie."""
    best = logits.topk(2, dim=1).values
    return (best[:, 0] - best[:, 1]) > TIE * (logits.amax(dim=1) - logits.amin(dim=1))
