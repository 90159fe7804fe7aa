"""stAdv (Xiao et al. 2018, "Spatially Transformed Adversarial Examples", sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluator.attacks.adam_points import climb_by_adam
from evaluator.attacks.attempts import Attempt, from_nothing_first
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.losses import margin
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@register(
    "stadv", title="Spatially transformed, stAdv", access="gradients", threats=("spatial",), paper="Xiao et al. 2018, sec. 3"
)
@dataclass(frozen=True)
class StAdv(Attack):
    """min over flows of L_adv + tau * L_flow, L_adv the negative margin and L_flow the flow's total variation (eq. 3-5).

    steps: of Adam at rate * epsilon per restart (the paper uses L-BFGS; Adam compacts per example). The first start is the
    zero flow, later ones are random. The threat bounds every pixel's displacement, so tau is 100 times smaller than in the
    paper, where it alone keeps the flow small.
    """

    steps: int = 100
    restarts: int = 1
    tau: float = 0.0005
    rate: float = 0.05

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        at_least(0, tau=self.tau)
        positive(rate=self.rate)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        def climb(part: Batch, start: Tensor) -> Attempt:
            rate = self.rate * threat.epsilon
            return climb_by_adam(model, part, threat, start, margin, steps=self.steps, rate=rate, penalty=self._penalty)

        return from_nothing_first(climb, batch, threat, restarts=self.restarts).points

    def _penalty(self, flow: Tensor) -> Tensor:
        return self.tau * flow_loss(flow)


def flow_loss(flow: Tensor) -> Tensor:
    """(n,) eq. (4): over neighboring pixels of the flow (n, 2, H, W), the sum of Euclidean lengths of their differences."""
    down, right = flow[:, :, 1:] - flow[:, :, :-1], flow[:, :, :, 1:] - flow[:, :, :, :-1]
    lengths = [(move.square().sum(dim=1) + 1e-10).sqrt().flatten(1).sum(dim=1) for move in (down, right)]
    return 2 * (lengths[0] + lengths[1])
