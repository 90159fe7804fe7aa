"""Robust on the ranked images, not on the same images moved by a pixel."""

from __future__ import annotations

import dataclasses

import torch

from evaluator.attacks.gradients import glance
from evaluator.checks.base import STEPS, Check, Finding, Subject, register, share
from evaluator.checks.climbs import climb

GAP = 0.4
LEAST = 8


@register
class MemorizedInputs(Check):
    """Compares robustness at the images with robustness at their translations."""

    name = "memorized-inputs"
    title = "Robust on known images only"
    definition = (
        f"The climb of {STEPS} steps at the ranked images and at the same images moved by one pixel to the right, of those "
        f"still classified correctly (at least {LEAST}). Fires when the accuracy differs by more than {GAP:.0%}."
    )
    meaning = "What was learned is a list of the test images, not the classes: nobody else's images are protected."
    remedy = "Do not ship or search the ranked images."

    def run(self, subject: Subject) -> Finding:
        if subject.batch.x.dim() != 4:
            return self.says(False, "not measured: inputs are no images.")
        moved = dataclasses.replace(subject.batch, x=torch.nn.functional.pad(subject.batch.x, (1, 0))[..., :-1])
        clean = glance(subject.readable, moved, subject.threat, subject.threat.start(moved.x))
        part = moved[~moved.success(clean)].fork("moved")
        if len(part) < LEAST:
            return self.says(False, f"not measured: only {len(part)} moved images are classified correctly.")
        here = 1 - share(subject.climb.ever)
        there = 1 - share(climb(subject.readable, part, subject.threat, steps=STEPS, stop=True).ever)
        evidence = f"{here:.0%} stand at the ranked images, {there:.0%} of {len(part)} at the same images moved by a pixel."
        return self.says(here - there > GAP, evidence)
