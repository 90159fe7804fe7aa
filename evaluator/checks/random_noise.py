"""Random noise must not find what gradients miss."""

from __future__ import annotations

import math

from evaluator.attacks.gradients import glance
from evaluator.checks.base import LONG, Check, Finding, Subject, register
from evaluator.threats.traits import Trait

NOISES = 10_000
MOST = 1000  # per example
ALLOWED = 1


@register
class RandomNoise(Check):
    """Random points of the threat on the examples that gradients left standing."""

    name = "noise-beats-gradient"
    title = "Random noise beats the gradient"
    definition = (
        f"{NOISES:,} random points of the threat, shared out among the examples that stand after {LONG} steps (at most "
        f"{MOST:,} for each). Fires when more than {ALLOWED} of them falls and the model is not random."
    )
    meaning = "A gradient that is worse than chance is no gradient of this model."
    remedy = "Look for gradients that are noise; declare a stand-in (`bpda`) or randomness (`randomized = true`)."
    needs = Trait.FAINT
    elsewhere = (
        "Elsewhere a few numbers say it all: pixels, the place of a patch, an angle. On honest networks chance finds them, "
        "too, and small steps do not."
    )

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        batch = subject.batch[subject.standing][~subject.long_climb.ever].fork("noise")
        count, asked, fell = len(batch), 0, 0
        for _ in range(min(MOST, math.ceil(NOISES / count)) if count else 0):
            points = subject.threat.random_start(batch.x, batch.draws)
            stands = ~batch.success(glance(subject.readable, batch, subject.threat, points))
            asked, fell = asked + len(batch), fell + int((~stands).sum())
            batch = batch[stands]
            if fell > ALLOWED or not len(batch):
                break
        evidence = f"{asked:,} random points broke {fell} of {count} that gradients left standing."
        return self.says(fell > ALLOWED, evidence)
