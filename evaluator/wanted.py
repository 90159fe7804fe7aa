"""What an adversary wants of an answer: another class than the true one, or one class in particular.

Everybody asks here whether an answer is a success: attacks by `Batch.success`, verification and votes by `models.reading`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wanted:
    """y: (n,) int64 true classes; target: (n,) int64 the class that must become the answer, None where any wrong one does."""

    y: Tensor
    target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor | slice) -> Wanted:
        """These rows."""
        return Wanted(self.y[rows], None if self.target is None else self.target[rows])

    def met(self, labels: Tensor) -> Tensor:
        """(n,) bool: whether answers named `labels` (n,) int64 are successes; -1, a refusal, never is one."""
        return (labels != self.y) & (labels >= 0) if self.target is None else labels == self.target

    def standing(self, correct: Tensor, met: Tensor) -> Tensor:
        """(n,) bool: what is not broken. Without a target that is what is `correct`: a wrong answer counts as broken, and so
        does a refusal of a clean image. With one it is everything that does not name it."""
        return correct if self.target is None else ~met

    def joined(self, others: Wanted) -> Wanted:
        """These rows and then those."""
        target = None if self.target is None or others.target is None else torch.cat([self.target, others.target])
        return Wanted(torch.cat([self.y, others.y]), target)

    def repeated(self, times: int) -> Wanted:
        """All rows, so many times one after the other."""
        return Wanted(self.y.repeat(times), None if self.target is None else self.target.repeat(times))
