"""Robust on the ranked images, not on the same images moved by a pixel."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from evaluator.attacks.gradients import glance
from evaluator.checks.base import STEPS, Check, Finding, Subject, register, share
from evaluator.checks.climbs import climb
from evaluator.ensembles.outputs import are_probabilities

GAP = 0.4
LEAST = 8


@register
class MemorizedInputs(Check):
    """Compares what happens around the images with what happens around their translations and their negatives."""

    name = "memorized-inputs"
    title = "Robust on known images only"
    definition = (
        f"The climb of {STEPS} steps at the ranked images and at the same images moved by one pixel to the right, of those "
        f"still classified correctly (at least {LEAST}). Fires when the accuracy differs by more than {GAP:.0%}, or when "
        f"random points around {GAP:.0%} more of the ranked images than of their negatives get the image's logits bit for bit."
    )
    meaning = "What was learned is a list of the test images, not the classes: nobody else's images are protected."
    remedy = "Do not ship or search the ranked images."

    def run(self, subject: Subject) -> Finding:
        images, probes = subject.batch.x, subject.rendered(subject.probes)
        flat, elsewhere = _constant(subject, images, probes), _constant(subject, 1 - images, 1 - probes)
        told = f"{flat:.0%} of the ranked images and {elsewhere:.0%} of their negatives pass their very logits on to neighbors"
        gap, robustness = self._gap(subject)
        return self.says(gap > GAP or flat - elsewhere > GAP, f"{told}; {robustness}.")

    def _gap(self, subject: Subject) -> tuple[float, str]:
        """How much more robust the images are than their translations, 0 where that cannot be measured, and in words."""
        if subject.batch.x.dim() != 4:
            return 0.0, "translations were not measured: inputs are no images"
        moved = dataclasses.replace(subject.batch, x=torch.nn.functional.pad(subject.batch.x, (1, 0))[..., :-1])
        clean = glance(subject.readable, moved, subject.threat, subject.threat.start(moved.x))
        part = moved[~moved.success(clean)].fork("moved")
        if len(part) < LEAST:
            return 0.0, f"translations were not measured: only {len(part)} are classified correctly"
        here = 1 - share(subject.climb.ever)
        there = 1 - share(climb(subject.readable, part, subject.threat, steps=STEPS, stop=True).ever)
        return here - there, f"{here:.0%} stand at the ranked images, {there:.0%} of {len(part)} at the images moved by a pixel"


def _constant(subject: Subject, images: Tensor, neighbors: Tensor) -> float:
    """The share of images whose answer is, bit for bit, that of their neighbor too; 0 for probabilities, which saturate."""
    one, other = subject.said(images), subject.said(neighbors)
    return 0.0 if are_probabilities(one) else share((one == other).all(dim=1) & (images != neighbors).flatten(1).any(dim=1))
