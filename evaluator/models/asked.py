"""How many rows each example was asked about, and how many until its first success: the account of a black-box attack."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.threats.base import Threat


class Asked:
    """rows: (n,) int64 asked about each of the examples x (n, *shape) so far; first: (n,) int64 the number of the row that was
    its first success inside `threat`, 0 where there is none yet."""

    def __init__(self, x: Tensor, threat: Threat) -> None:
        self._x, self._threat = x, threat
        self.rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.first = torch.zeros_like(self.rows)

    def count(self, examples: Tensor, points: Tensor, success: Tensor) -> None:
        """Counts one row for each of `points` (m, ...), in order, of `examples` (m,), which may repeat."""
        numbers = self.rows[examples] + _occurrence(examples) + 1
        self.rows.index_add_(0, examples, torch.ones_like(examples))
        found = (success & (self.first[examples] == 0)).nonzero().squeeze(1)
        if not len(found):
            return
        inside = self._threat.contains(self._x[examples[found]], points[found])
        for row in found[inside].flip(0).tolist():  # the earliest is written last
            self.first[examples[row]] = numbers[row]


def _occurrence(examples: Tensor) -> Tensor:
    """(m,) how many earlier rows are of the same example."""
    order = examples.argsort(stable=True)
    sorted_, places = examples[order], torch.arange(len(examples), device=examples.device)
    starts = torch.ones_like(sorted_, dtype=torch.bool)
    starts[1:] = sorted_[1:] != sorted_[:-1]
    first = torch.where(starts, places, 0).cummax(dim=0).values if len(examples) else places
    return torch.empty_like(places).index_copy(0, order, places - first)
