"""The fast gradient method: one steepest step (Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import cross_entropy, logits_and_gradient
from evaluator.attacks.registry import register
from evaluator.threats.base import Threat


@register("fgsm", title="Fast gradient method", access="gradients", threats=("*",), paper="Goodfellow et al. 2015, sec. 4")
@dataclass(frozen=True)
class FGSM(Attack):
    """x + epsilon * steepest direction of the cross-entropy (Linf: its sign), towards the target when there is one."""

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        start = threat.start(batch.x)
        _, _, gradient = logits_and_gradient(lambda z: model(threat.apply(batch.x, z)), batch, start, cross_entropy)
        return threat.project(batch.x, start + threat.steepest_step(gradient, threat.epsilon))
