"""Interval attack (Wang et al. 2019, "Enhancing Gradient-based Attacks with Symbolic Intervals", arXiv 1906.02282)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import LOSSES
from evaluator.attacks.pgd import ascend
from evaluator.attacks.registry import register
from evaluator.attacks.relaxed_network import Relaxed
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Threat


@register(
    "interval", title="Interval attack", access="gradients", threats=("linf",), paper="Wang et al. 2019, alg. 1", targeted=False
)
@dataclass(frozen=True)
class IntervalAttack(Attack):
    """Alternates PGD with moves along the interval gradient, which sees a whole region where PGD sees a point.

    Around the point where PGD stopped, a box of radius `first_radius` * epsilon is tripled until interval analysis no longer
    proves the label for it, up to epsilon / 2. Then every pixel moves by the box's radius along the relaxation's gradient
    for the class with the highest bound, and PGD starts from there. Where even the largest box is proved safe, PGD ends.

    steps: of each PGD, of size 2.5 * epsilon / steps. moves: interval moves per restart. network: the layers, when the
    model under attack is a wrapper around them; otherwise the model itself must be a plain sequence (else InputError).
    Interval analysis asks the network, not the metered model, and is not counted in rows.
    """

    steps: int = 40
    moves: int = 3
    restarts: int = 1
    first_radius: float = 1 / 30
    loss: Literal["ce", "margin", "dlr", "pm"] = "ce"
    network: nn.Module | None = None

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, moves=self.moves, restarts=self.restarts)
        positive(first_radius=self.first_radius)
        one_of(LOSSES, loss=self.loss)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        network = Relaxed(self.network if self.network is not None else model)

        def once(part: Batch) -> Attempt:
            return self._attempt(model, network, part, threat)

        return with_restarts(once, batch, threat, restarts=self.restarts).points

    def _attempt(self, model: Model, network: Relaxed, batch: Batch, threat: Threat) -> Attempt:
        """One random start: PGD, then `moves` times an interval move and PGD, for the examples that still stand."""
        loss, size = LOSSES[self.loss], 2.5 * threat.epsilon / self.steps
        start = threat.random_start(batch.x, batch.draws)
        found = ascend(model, batch, threat, start, loss, steps=self.steps, size=size)
        for _ in range(self.moves):
            stands = (~found.fell).nonzero().squeeze(1)
            part = batch[stands]
            if not len(part):
                break
            moved = self._moved(network, part, threat, found.points[stands])
            again = ascend(model, part, threat, moved, loss, steps=self.steps, size=size)
            found.points[stands], found.fell[stands] = again.points, again.fell
        return found

    def _moved(self, network: Relaxed, batch: Batch, threat: Threat, points: Tensor) -> Tensor:
        """The points after one interval move; unmoved where the largest box is proved safe."""
        active, result = torch.arange(len(batch), device=points.device), points.clone()
        radius, largest = min(self.first_radius, 0.5) * threat.epsilon, threat.epsilon / 2
        while len(active):
            x, y, z = batch.x[active], batch.y[active], points[active]
            with torch.no_grad():
                relaxed = network.relax((z - radius).clamp(0, 1), (z + radius).clamp(0, 1), y)
            upper = relaxed.upper.scatter(1, y[:, None], -torch.inf)
            gradient = network.direction(z, y, upper.argmax(dim=1), relaxed)
            open_ = upper.amax(dim=1) > 0
            moved = threat.project(x, z + radius * gradient.sign())
            result[active[open_]] = moved[open_]
            active = active[~open_]
            if radius == largest:
                break
            radius = min(3 * radius, largest)
        return result
