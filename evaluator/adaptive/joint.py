"""Fooling a classifier and its detector at once (Carlini and Wagner 2017, "Adversarial Examples Are Not Easily Detected";
Bryniarski et al. 2021, "Evading Adversarial Example Detection Defenses with Orthogonal Projected Gradient Descent")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.gradients import glance, gradient_of
from evaluator.attacks.losses import margin
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, one_of
from evaluator.errors import InputError
from evaluator.threats.base import Threat

_GROWTH = 1.3


class _Sight(NamedTuple):
    """success, refused: (n,) bool; direction: (n, *shape) to climb."""

    success: Tensor
    refused: Tensor
    direction: Tensor


@dataclass(frozen=True)
class Joint(Attack):
    """Climbs the margin m and minus the detector's score D, of a defense that declares one (`models.reading`).

    by: "sum" climbs m / |m_0| - c D / |D_0|. The weight c grows in every step in which the input is refused and shrinks in
    every other. "orthogonal" climbs m until the label is wrong and then -D, each without its component along the other's
    gradient. steps: their size falls from epsilon to 0 by a cosine. An example leaves where the label is wrong and accepted.
    """

    steps: int = 50
    by: Literal["sum", "orthogonal"] = "sum"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        one_of(("sum", "orthogonal"), by=self.by)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        result = threat.random_start(batch.x, batch.draws)
        points, active = result.clone(), torch.arange(len(batch), device=batch.x.device)
        weights = 1 / _sizes(glance(model, batch, threat, points), batch)
        for step in range(self.steps):
            part = batch[active]
            success, refused, direction = self._look(model, part, threat, points[active], weights[active])
            weights[active, 1] *= torch.where(refused, _GROWTH, 1 / _GROWTH)
            result[active[success]] = points[active[success]]
            size = threat.epsilon * (1 + math.cos(math.pi * step / self.steps)) / 2
            active, direction = active[~success], direction[~success]
            if not len(active):
                return result
            moved = points[active] + threat.steepest_step(direction, size)
            points[active] = threat.project(batch.x[active], moved)
        result[active] = points[active]
        return result

    def _look(self, model: Model, batch: Batch, threat: Threat, points: Tensor, weights: Tensor) -> _Sight:
        """What can be seen at `points`."""
        with torch.enable_grad():
            leaf = points.detach().requires_grad_(True)
            logits = model(threat.apply(batch.x, leaf)).float()
            goals = torch.stack([margin(logits, batch), -_score(logits, batch)], dim=1)
            success, refused = batch.success(logits.detach()), batch.reading.refused(logits.detach())
            if self.by == "sum":
                return _Sight(success, refused, gradient_of((goals * weights).sum(), leaf))
            towards_label = gradient_of(goals[:, 0].sum(), leaf, retain=True)
            towards_accepted = gradient_of(goals[:, 1].sum(), leaf)
        fooled = wide(goals[:, 0].detach() > 0, leaf)
        direction = torch.where(fooled, _without(towards_accepted, towards_label), _without(towards_label, towards_accepted))
        return _Sight(success, refused, direction)


def _score(logits: Tensor, batch: Batch) -> Tensor:
    """(n,) the detector's. Raises InputError for a defense that declares none."""
    score = batch.reading.answer(logits).score
    if score is None:
        raise InputError("Joint fools a classifier together with its detector; this defense declares none.")
    return score


def _sizes(logits: Tensor, batch: Batch) -> Tensor:
    """(n, 2) the sizes of margin and score; a score of 0 is no unit."""
    return torch.stack([margin(logits, batch).abs(), _score(logits, batch).abs()], dim=1).clamp_min(1e-3)


def _without(gradient: Tensor, other: Tensor) -> Tensor:
    """`gradient` less its component along `other`, per example; where nothing is left, `gradient` itself."""
    g, o = gradient.flatten(1).double(), other.flatten(1).double()
    along = (g * o).sum(dim=1, keepdim=True) / o.square().sum(dim=1, keepdim=True).clamp_min(1e-300)
    left = g - along * o
    hopeless = left.abs().amax(dim=1, keepdim=True) <= 1e-6 * g.abs().amax(dim=1, keepdim=True)
    return torch.where(hopeless, g, left).to(gradient.dtype).reshape(gradient.shape)
