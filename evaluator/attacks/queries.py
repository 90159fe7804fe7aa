"""Exact query accounts: what each example may still ask of a model that answers scores or labels."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.access import scores
from evaluator.attacks.base import Batch, Model
from evaluator.threats.base import Threat

_ROWS = 2048  # largest single call, to bound memory


class Queries:
    """Asks `model` about points of a batch; every row is charged to its example before it is asked.

    allowance: rows per example. Attacks look at `left` and stop in time: asking beyond it is their bug, and raises
    RuntimeError with nothing asked.
    """

    def __init__(self, model: Model, batch: Batch, threat: Threat, allowance: int) -> None:
        self.batch, self.threat = batch, threat
        self.left = torch.full((len(batch),), allowance, dtype=torch.int64, device=batch.x.device)
        self._model = model

    def affordable(self, rows: Tensor, count: int) -> Tensor:
        """The part of `rows` (m,) that may still ask `count` times."""
        return rows[self.left[rows] >= count]

    def scores(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m, classes) logits of points (m, *shape) of the examples `rows` (m,), which may repeat; m > 0."""
        left = self.left.index_add(0, rows, torch.full_like(rows, -1))
        if bool((left < 0).any()):
            raise RuntimeError("an example asked for more queries than it has")
        self.left = left
        parts = [
            scores(self._model, self.threat.apply(self.batch.x[some], some_points))
            for some, some_points in zip(rows.split(_ROWS), points.split(_ROWS), strict=True)
        ]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def success(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m,) bool: whether the predicted label alone meets the adversary's goal."""
        labels = self.scores(rows, points).argmax(dim=1)
        if self.batch.target is not None:
            return labels == self.batch.target[rows]
        return labels != self.batch.y[rows]

    def successes(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m, k) bool for points (m, k, *shape): k queries of every example of `rows` (m,)."""
        count = points.shape[1]
        return self.success(rows.repeat_interleave(count), points.flatten(0, 1)).reshape(-1, count)
