"""Adversarial points that the honesty checks found on the way.

What breaks an example counts, wherever it turned up. A check's climb measures something else, but a point inside the threat
that it saw misclassified is a claim like any other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.threats.base import Threat


class Evidence:
    """The first misclassified point inside `threat` that was seen for each of the examples x (n, *shape).

    found: (n,) bool; points: (n, ...) one point of the threat per example, meaningful where `found`.
    """

    def __init__(self, x: Tensor, threat: Threat) -> None:
        self._x, self._threat = x, threat
        self.points = threat.start(x)
        self.found = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def offer(self, examples: Tensor, points: Tensor) -> None:
        """Keeps `points` (m, ...), seen misclassified, for `examples` (m,) that have none yet.

        What is no point of the threat is dropped: checks also ask about larger budgets and about other images.
        """
        new = ~self.found[examples]
        if points.shape[1:] != self.points.shape[1:] or not bool(new.any()):
            return
        examples, points = examples[new], points[new].detach()
        inside = self._threat.contains(self._x[examples], points)
        examples, points = examples[inside], points[inside]
        self.points[examples] = points.to(self.points.dtype)
        self.found[examples] = True
