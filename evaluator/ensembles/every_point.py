"""A finite threat is not climbed but tried out: every point, so that a survivor is robust in the exact sense."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Attack, Batch, Model
from evaluator.ensembles.sequence import Sequence, Stage
from evaluator.models.access import scores
from evaluator.threats.base import Threat
from evaluator.threats.corruptions import Corruptions


@dataclass(frozen=True)
class EveryPoint(Attack):
    """Tries every realization of one kind of corruption; an example leaves at the first that is misclassified.

    number: the kind's, as points have it (1 is the threat's first).
    """

    number: int
    supported_threats = ("corruptions",)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        assert isinstance(threat, Corruptions)
        found = threat.start(batch.x)
        active = torch.arange(len(batch), device=batch.x.device)
        for point in threat.points(batch.x):
            if not len(active):
                break
            here = point[active]
            if int(here[0, 0]) != self.number:
                continue
            found[active] = here
            part = batch[active]
            active = active[~part.success(scores(model, threat.apply(part.x, here)))]
        return found


def every_point(threat: Threat) -> Sequence:
    """One stage for each kind, in the threat's order, so that reports say which corruption broke an example first."""
    assert isinstance(threat, Corruptions)
    return Sequence("standard", tuple(Stage(kind, EveryPoint(number)) for number, kind in enumerate(threat.kinds, start=1)))
