"""Adaptive distributionally adversarial attack (Zheng, Madry MNIST board, 2019: 88.06 %).

Published are the board's lines "merging multiple hyperparameters" (88.56 %) and "adaptive" (88.06 %), without a text.
Implemented from the first: restarts take turns over both kernels and both losses. Guesswork: "adaptive" is read as step
sizes that fall during a run, from epsilon / 4 by a half at each of APGD's checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluator.attacks.apgd import checkpoints
from evaluator.attacks.attempts import Attempt, with_restarts
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.daa import DAA, flow
from evaluator.attacks.registry import register
from evaluator.attacks.validation import at_least
from evaluator.threats.base import Threat

_TURNS = (DAA(kernel="blob", loss="margin"), DAA(kernel="dgf", loss="ce"), DAA(kernel="blob"), DAA(kernel="dgf", loss="margin"))


@register(
    "daa_adaptive",
    title="Adaptive distributionally adversarial attack",
    access="gradients",
    threats=("linf",),
    paper="Zheng 2019, Madry MNIST board; no paper, step sizes are ours",
)
@dataclass(frozen=True)
class AdaptiveDAA(Attack):
    """DAA whose restarts take turns over kernels and losses, with step sizes that halve at APGD's checkpoints.

    steps, particles: of each restart. restarts: four make one full turn.
    """

    steps: int = 100
    particles: int = 8
    restarts: int = 4

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, restarts=self.restarts)
        at_least(2, particles=self.particles)

    def run(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        turning, sizes, size = set(checkpoints(self.steps)), [], threat.epsilon / 4
        for step in range(self.steps):
            size = size / 2 if step in turning else size
            sizes.append(size)
        turns = iter(range(self.restarts))

        def once(part: Batch) -> Attempt:
            turn = _TURNS[next(turns) % len(_TURNS)]
            options = DAA(particles=self.particles, kernel=turn.kernel, loss=turn.loss)
            return flow(model, part, threat, options, sizes=sizes)

        return with_restarts(once, batch, threat, restarts=self.restarts).points
