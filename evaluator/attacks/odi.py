"""Output diversified initialisation (Tashiro et al. 2020, "Diversity can be Transferred", sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from evaluator.attacks.apgd import climb_from
from evaluator.attacks.attempts import Attempt, Restarted
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, one_of
from evaluator.threats.base import Threat


@register(
    "odi", title="Output diversified initialisation", access="gradients", threats=("*",), paper="Tashiro et al. 2020, sec. 3"
)
@dataclass(frozen=True)
class ODI(Restarted):
    """Starts every restart where a random combination w . Z of the logits is large, w ~ U(-1, 1)^K, then climbs.

    diversify: steps of size epsilon on w . Z. steps, restarts, loss: of the climb. climb: "pgd" (fixed steps of
    epsilon / 4, the paper's) or "apgd". An example leaves at its first success, wherever that is.
    """

    steps: int = 20
    restarts: int = 20
    diversify: int = 2
    loss: Literal["margin", "ce", "dlr", "pm"] = "margin"
    climb: Literal["pgd", "apgd"] = "pgd"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts, diversify=self.diversify)
        one_of(LOSSES, loss=self.loss)
        one_of(("pgd", "apgd"), climb=self.climb)

    def once(self, model: Model, batch: Batch, threat: Threat) -> Attempt:
        """One restart: diversify, then climb with those that still stand."""
        start = threat.random_start(batch.x, batch.draws)
        first = ascend(
            model, batch, threat, start, random_direction, steps=self.diversify, size=threat.epsilon, last_look=False
        )
        stands = (~first.fell).nonzero().squeeze(1)
        part, points, loss = batch[stands], first.points[stands], LOSSES[self.loss]
        if self.climb == "apgd":
            then = climb_from(model, part, threat, points, loss, steps=self.steps)
        else:
            then = ascend(model, part, threat, points, loss, steps=self.steps, size=threat.epsilon / 4)
        return Attempt(first.points.index_copy(0, stands, then.points), first.fell.index_copy(0, stands, then.fell))


def random_direction(logits: Tensor, batch: Batch) -> Tensor:
    """w . Z with w ~ U(-1, 1)^K, the same w whenever it is asked for the same streams."""
    weights = 2 * batch.draws.fork("odi").uniform(logits.shape[1]) - 1
    return (weights * logits).sum(dim=1)
