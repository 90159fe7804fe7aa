"""Targeted Fast Adaptive Boundary (Croce and Hein 2020, "Minimally distorted Adversarial Examples with FAB", ICML)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.fab import PAPER, BoundarySearch
from evaluator.attacks.gradients import ranked_classes
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat


@register("fab_t", title="Targeted Fast Adaptive Boundary", access="gradients", threats=("linf", "l2", "l1"), paper=PAPER)
@dataclass(frozen=True)
class FABT(BoundarySearch):
    """FAB towards the boundary with one wrong class at a time, for the `targets` likeliest; any wrong label counts.

    An iteration costs two forward rows and one backward row, whatever the number of classes.
    """

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, targets=self.targets)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        known, logits, stands = self.correct(model, batch, threat)
        classes = ranked_classes(logits[stands], batch.y[stands]) if len(stands) else logits
        part, best = batch[stands], known[stands]
        for rank in range(1 if batch.target is not None else min(self.targets, classes.shape[1])):
            if not len(part):
                break
            aimed = part.fork(rank) if batch.target is not None else part.fork(rank).aimed(classes[:, rank])
            best = self.closest(model, aimed, threat, best)
        return known.replaced(stands, best).points
