"""Attack what can be differentiated, count what falls on the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.errors import InputError
from evaluator.models.access import scores
from evaluator.threats.base import Threat


@dataclass(frozen=True)
class ThroughSurrogates(Attack):
    """Runs `attack` on one surrogate after another (BPDA, EOT, layers removed, logits rescaled, ...).

    A point counts only when the unmodified model given to `run` falls for it; such an example leaves before the next
    surrogate. Each surrogate costs one forward row of the unmodified model per example, beside its own passes.
    """

    attack: Attack
    surrogates: tuple[Model, ...]

    def __post_init__(self) -> None:
        if not self.surrogates:
            raise InputError("there is no surrogate to attack.", help="Give at least one.")

    def check(self, threat: Threat, *, targeted: bool = False) -> None:
        """Refuses what `attack` refuses."""
        self.attack.check(threat, targeted=targeted)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        best = threat.start(batch.x)
        active = torch.arange(len(batch), device=batch.x.device)
        for number, surrogate in enumerate(self.surrogates):
            if not len(active):
                break
            part = batch[active].fork(number)
            points = self.attack.run(surrogate, part, threat)
            best[active] = points
            active = active[~part.success(scores(model, threat.apply(part.x, points)))]
        return best
