"""How far apart two answers to one input are, by the lead of the class that won: other logits and constants hide nothing.

What a verdict rests on is by how much one class leads. A tolerance that follows the spread of a row's logits can be widened
at will. It takes one logit of -1e6 that never wins, or a constant beside all of them. The lead of the winner over its nearest
rival cannot be widened without becoming the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RESOLUTION = 1e-6  # of the larger of the two logits: float32 tells no smaller difference apart once a few sums were rounded
ROUNDED = 1e-3  # of most rows' leads: what moves all rows by more is no rounding
JUMP = 16  # times the median change of all rows: what rounding does to none of them


@dataclass(frozen=True)
class Leads:
    """Leads of the first answer's winner over the second's or, where that is the same class, over the runner-up.

    before, after: (..., n) float64 in the first and in the second answer; size: (..., n) the larger of the two logits' absolute
    values, of both answers.
    """

    before: Tensor
    after: Tensor
    size: Tensor

    @classmethod
    def of(cls, one: Tensor, other: Tensor) -> Leads:
        """Two answers (..., n, K), K at least 2, to the same inputs."""
        one, other = one.double(), other.double()
        first, rival = one.argmax(dim=-1), other.argmax(dim=-1)
        rival = torch.where(rival == first, one.topk(2, dim=-1).indices[..., 1], rival)
        pair = torch.stack([first, rival], dim=-1)
        ours, theirs = one.gather(-1, pair), other.gather(-1, pair)
        size = torch.maximum(ours.abs(), theirs.abs()).amax(dim=-1)
        return cls(ours[..., 0] - ours[..., 1], theirs[..., 0] - theirs[..., 1], size)

    @property
    def moved(self) -> Tensor:
        """(..., n) by how much the lead changed."""
        return (self.before - self.after).abs()

    @property
    def larger(self) -> Tensor:
        """(..., n) the larger of the two leads."""
        return torch.maximum(self.before.abs(), self.after.abs())

    @property
    def changed(self) -> Tensor:
        """(..., n) bool: another class wins, and not by what rounding does to the other rows or to numbers of that size."""
        return (self.after < 0) & (self.moved > torch.maximum(self._usual, RESOLUTION * self.size))

    def deviation(self) -> Tensor:
        """(..., n) the change over the lead; near a boundary over the leads of most rows, as far as the logits are that large.

        What rounding does to the other rows and to numbers of that size is taken off first.
        """
        typical = self.larger.median(dim=-1, keepdim=True).values
        rounding = torch.maximum(torch.minimum(self._usual, ROUNDED * typical), RESOLUTION * self.size)
        scale = torch.maximum(self.larger, torch.minimum(typical, self.size)).clamp_min(1e-12)
        return (self.moved - rounding).clamp_min(0) / scale

    @property
    def _usual(self) -> Tensor:
        """(..., 1) beyond what most rows move."""
        return JUMP * self.moved.median(dim=-1, keepdim=True).values
