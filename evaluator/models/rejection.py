"""Models that may refuse to answer: how a declared detector's score travels with the logits, and what a refusal is.

A shift of all logits means nothing to a classifier: neither the label nor the margin, cross-entropy, DLR or their gradients
change. So the mean of a row carries minus the detector's score, and every attack, every wire and every lane takes such a model
as it takes any other. A clean image that is refused is an error; a perturbed one that is refused is no success of the attack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = 1e-6  # of a row's largest logit: a score of exactly 0 accepts, whatever float32 made of the row's mean


def with_score(answers: Tensor) -> Tensor:
    """(n, classes + 1), the last column the detector's score -> (n, classes) logits whose row means are minus that score.

    Differentiable. Raises ValueError for anything but a matrix of at least two columns.
    """
    if answers.dim() != 2 or answers.shape[1] < 2:
        what = f"forward() answered shape {tuple(answers.shape)}"
        raise ValueError(f"{what}; with detector = true it is (n, classes + 1), the last column the detector's score")
    logits, score = answers[:, :-1].double(), answers[:, -1:].double()
    return (logits - logits.mean(dim=1, keepdim=True) - score).to(answers.dtype)


def detector_score(logits: Tensor) -> Tensor:
    """(n,) the score that `with_score` put into (n, classes) logits, differentiable; positive: refused."""
    return -logits.mean(dim=1)


def rejected(logits: Tensor) -> Tensor:
    """(n,) bool: the detector refuses the input (its score is positive beyond rounding)."""
    return detector_score(logits.double()) > _ROUNDING * logits.abs().amax(dim=1)


def label_or_rejection(logits: Tensor, rejects: bool) -> Tensor:
    """(n,) int64 predicted classes; -1 where a model that `rejects` refuses to answer."""
    named = logits.argmax(dim=1)
    return torch.where(rejected(logits), -1, named) if rejects else named


@dataclass(frozen=True)
class Decisions:
    """A model that may refuse, for decision-based attackers: one-hot rows that say whether they count, and nothing more."""

    model: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> (n, classes) float32 in the form of `with_score`."""
        with torch.no_grad():
            logits = self.model(x.detach()).detach()
        named = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(torch.float32)
        score = torch.where(rejected(logits), 1.0, -1.0)
        return with_score(torch.cat([named, score[:, None]], dim=1))
