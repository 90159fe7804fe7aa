"""Random noise must not find what gradients miss."""

from __future__ import annotations

import torch

from evaluator.attacks.gradients import glance
from evaluator.checks.base import LONG, Check, Finding, Subject, register

PER_EXAMPLE = 40
ALLOWED = 1


@register
class RandomNoise(Check):
    """Random points of the threat on the examples that gradients left standing."""

    name = "noise-beats-gradient"
    title = "Random noise beats the gradient"
    definition = (
        f"{PER_EXAMPLE} random points of the threat (1,280 in a sample of 32) for each example that stands after {LONG} steps. "
        f"Fires when more than {ALLOWED} of them falls and the model is not random."
    )
    meaning = "A gradient that is worse than chance is no gradient of this model."
    remedy = "Look for gradients that are noise; declare a stand-in (`bpda`) or randomness (`randomized = true`)."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        batch = subject.batch[subject.standing][~subject.long_climb.ever].fork("noise")
        count, fell = len(batch), torch.zeros(len(batch), dtype=torch.bool, device=batch.x.device)
        for _ in range(PER_EXAMPLE if count else 0):
            points = subject.threat.random_start(batch.x, batch.draws)
            fell |= batch.success(glance(subject.readable, batch, subject.threat, points))
        return self.says(int(fell.sum()) > ALLOWED, f"noise broke {int(fell.sum())} of {count} that gradients left standing.")
