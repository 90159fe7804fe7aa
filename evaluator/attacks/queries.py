"""Exact query accounts: what each example may still ask of a model that answers scores or labels."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.losses import Loss
from evaluator.models.access import scores
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
        """(m, classes) logits of points (m, *shape) of the examples `rows` (m,), which may repeat; m > 0.

        Rendered points are cut by the [0, 1] box: probes of a search may stick out of it.
        """
        left = self.left.index_add(0, rows, torch.full_like(rows, -1))
        if bool((left < 0).any()):
            raise RuntimeError("an example asked for more queries than it has")
        self.left = left
        parts = []
        for first in range(0, len(rows), _ROWS):
            some = slice(first, first + _ROWS)
            rendered = self.threat.apply(self.batch.x[rows[some]], points[some])
            parts.append(scores(self._model, rendered.clamp(0, 1)))
        logits = torch.cat(parts)
        if self.batch.asked is not None:
            part = self.batch[rows]
            part.count(points, part.success(logits))
        return logits

    def losses(self, rows: Tensor, points: Tensor, loss: Loss) -> Tensor:
        """(m,) float32 values of the loss at points (m, *shape)."""
        return loss(self.scores(rows, points).float(), self.batch[rows])

    def judge(self, rows: Tensor, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """(m,) float32 losses and (m,) bool success of points (m, *shape), from the same query."""
        part = self.batch[rows]
        logits = self.scores(rows, points).float()
        return loss(logits, part), part.success(logits)

    def success(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m,) bool: whether the predicted label alone meets the adversary's goal."""
        if not len(rows):
            return torch.zeros(0, dtype=torch.bool, device=rows.device)
        return self.batch[rows].success(self.scores(rows, points))

    def successes(self, rows: Tensor, points: Tensor) -> Tensor:
        """(m, k) bool for points (m, k, *shape): k queries of every example of `rows` (m,)."""
        count = points.shape[1]
        return self.success(rows.repeat_interleave(count), points.flatten(0, 1)).reshape(-1, count)
