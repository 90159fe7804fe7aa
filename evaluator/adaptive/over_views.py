"""An attack on the mean over random views instead of the one image (Athalye et al. 2018, "Synthesizing Robust ...")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.adaptive.eot import EOT
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical


@dataclass(frozen=True)
class OverViews(Attack):
    """Runs `attack` on the mean logits over `samples` views, drawn anew for every question.

    The views of one question are shared by its examples, so that no example's answer depends on its neighbours. fresh: False
    asks every question about the same views, so that a random search compares like with like. apart: runs the examples
    one by one, for an attack that puts different questions for each.
    """

    attack: Attack
    samples: int = 8
    seed: int = 0
    fresh: bool = True
    apart: bool = False
    supported_threats = ("physical",)

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        assert isinstance(threat, Physical)
        parts = [batch[row : row + 1] for row in range(len(batch))] if self.apart and len(batch) else [batch]
        return torch.cat([self.attack.run(self._seen(model, threat), part, threat) for part in parts])

    def _seen(self, model: Model, threat: Physical) -> EOT:
        return EOT(model, self.samples, transformation=threat.sample, seed=self.seed, fresh=self.fresh)
