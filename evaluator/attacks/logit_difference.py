"""First-order attack on the logit difference for the optimally chosen target (S. Gupta, Madry MNIST board, 2018: 88.85 %).

The board's line is all that is published. Implemented from it: ascend Z_t - Z_y for one target t. Guesswork: which target
is optimal. Here it is the class whose linearised logit difference reaches highest inside the threat,
t = argmax_k (Z_k - Z_y) + max_{|m| <= epsilon} <grad(Z_k - Z_y), m>, chosen anew at every random start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import gradient_of, ranked_classes
from evaluator.attacks.losses import margin
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat


@register(
    "logit_difference",
    title="Logit difference, optimally chosen target",
    access="gradients",
    threats=("*",),
    paper="Gupta 2018, Madry MNIST board; no paper, target choice is ours",
)
@dataclass(frozen=True)
class LogitDifference(Restarted):
    """PGD on Z_t - Z_y for the wrong class t that the linearised model says can rise highest within epsilon.

    steps: per restart, of size 2.5 * epsilon / steps. restarts: random starts, each with its own choice of target.
    """

    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One random start: choose the target there, then climb."""
        points, size = threat.random_start(batch.x, batch.draws), 2.5 * threat.epsilon / self.steps
        if batch.target is not None:
            return ascend(model, batch, threat, points, margin, steps=self.steps, size=size)
        choice = best_target(model, batch, threat, points)
        stands = (~choice.fell).nonzero().squeeze(1)
        part = batch[stands].aimed(choice.target[stands])
        climbed = ascend(model, part, threat, points[stands], margin, steps=self.steps, size=size)
        return Attempt(points.index_copy(0, stands, climbed.points), choice.fell.index_copy(0, stands, climbed.fell))


@dataclass(frozen=True)
class Choice:
    """target (n,) int64: the class to steer to; fell (n,) bool: the point is adversarial already."""

    target: Tensor
    fell: Tensor


def best_target(model: Model, batch: Batch, threat: Threat, points: Tensor) -> Choice:
    """The wrong class whose linearised logit difference reaches highest with a move of size epsilon from `points`.

    Costs one forward row and K - 1 backward rows; no backward rows when every point is adversarial already.
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        logits = model(threat.apply(batch.x, leaf)).float()
        classes, fell = ranked_classes(logits.detach(), batch.y), batch.success(logits.detach())
        best, target = torch.full((len(batch),), -torch.inf, device=points.device), classes[:, 0]
        if bool(fell.all()):
            return Choice(target, fell)
        for rank in range(classes.shape[1]):
            rise = margin(logits, batch.aimed(classes[:, rank]))
            gradient = gradient_of(rise.sum(), leaf, retain=rank + 1 < classes.shape[1])
            move = threat.steepest_step(gradient, threat.epsilon)
            reach = rise.detach() + (gradient * move).flatten(1).sum(dim=1)
            target = torch.where(reach > best, classes[:, rank], target)
            best = torch.maximum(best, reach)
    return Choice(target, fell)
