"""Guided local attack (S. Yi, Madry MNIST board, 2021: 88.00 %).

The board's line is all that is published: no paper and no code could be found. Everything but the name is guesswork. The
reading implemented here: strong Linf adversarial examples lie at corners of the ball. So after a margin PGD the attack
searches corners locally, guided by the gradient. It proposes to send a random share of the coordinates to the face that
the gradient points to, coordinates with larger |gradient| likelier, and keeps the proposal when the margin rises.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Climbing
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.validation import at_least, at_most, positive
from evaluator.threats.base import Threat


@dataclass
class _State(Climbing):
    """best, value, gradient: the points with the largest margin so far, that margin, its gradient."""

    best: Tensor
    value: Tensor
    gradient: Tensor


@register(
    "guided_local",
    title="Guided local attack",
    access="gradients",
    threats=("linf",),
    paper="Yi 2021, Madry MNIST board; no paper, algorithm is ours",
)
@dataclass(frozen=True)
class GuidedLocal(Restarted):
    """Margin PGD, then a local search over corners of the ball in which the gradient proposes and the margin disposes.

    steps: of PGD per restart. moves: proposals after it. share: of the coordinates in the first proposal; it falls
    linearly to a tenth of that.
    """

    steps: int = 50
    moves: int = 50
    restarts: int = 1
    share: float = 0.2

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        at_least(0, moves=self.moves)
        positive(share=self.share)
        at_most(1, share=self.share)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One random start: climb, then search around where the climb ended."""
        start, size = threat.random_start(batch.x, batch.draws), 2.5 * threat.epsilon / self.steps
        climbed = ascend(model, batch, threat, start, margin, steps=self.steps, size=size, last_look=False)
        stands = (~climbed.fell).nonzero().squeeze(1)
        found = self._search(model, batch[stands], threat, climbed.points[stands])
        return Attempt(climbed.points.index_copy(0, stands, found.points), climbed.fell.index_copy(0, stands, found.fell))

    def _search(self, model: Model, batch: Batch, threat: Threat, points: Tensor) -> Attempt:
        """Local search from `points`."""
        value = torch.full((len(batch),), -torch.inf, device=points.device)
        now = _State(batch, points, points, value, torch.zeros_like(points))
        for move in range(self.moves):
            if not len(now):
                return now.found
            seen = look(model, now.batch, threat, now.points, margin)
            now.leave(seen)
            values = seen.values[seen.keep]
            better = values > now.value
            now.value = torch.where(better, values, now.value)
            now.best, now.gradient = choose(better, now.points, now.best), choose(better, seen.gradient, now.gradient)
            share = self.share * (1 - 0.9 * move / self.moves)
            now.points = self._proposal(now.batch, threat, now.best, now.gradient, share)
        if len(now):
            fallen = now.batch.success(glance(model, now.batch, threat, now.points))
            now.note(choose(fallen, now.points, now.best), fallen)
        return now.found

    def _proposal(self, batch: Batch, threat: Threat, best: Tensor, gradient: Tensor, share: float) -> Tensor:
        """Sends about `share` of the coordinates to the face the gradient points to, in proportion to |gradient|."""
        size = gradient.abs()
        chance = share * size / wide(size.flatten(1).mean(dim=1).clamp_min(1e-12), size)
        chosen = batch.draws.uniform(*gradient.shape[1:]) < chance
        corner = threat.project(batch.x, batch.x + 2 * threat.epsilon * gradient.sign())
        return torch.where(chosen & (gradient != 0), corner, best)
