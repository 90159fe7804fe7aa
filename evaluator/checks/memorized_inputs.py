"""Robust on the ranked images, not on the same images bent a little, nor on other images of the same split."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy
import torch
from torch import Tensor

from evaluator.attacks.base import Batch
from evaluator.attacks.gradients import glance
from evaluator.checks.base import STEPS, Check, Finding, Subject, register, share
from evaluator.checks.climbs import climb
from evaluator.checks.deformations import deformed
from evaluator.ensembles.outputs import are_probabilities

GAP = 0.4  # honest networks lose up to 0.2 on deformed images
OTHERS = 0.3  # and nothing on other images, but for chance
LEVEL = 0.01  # of the exact tests
LEAST = 8


@register
class MemorizedInputs(Check):
    """Compares what happens around the images with what happens around deformed ones, other ones and negatives."""

    name = "memorized-inputs"
    title = "Robust on known images only"
    definition = (
        f"The climb of {STEPS} steps at the ranked images, at the same images under secretly drawn smooth deformations, and at "
        f"images of the split that do not rank, of those classified correctly (at least {LEAST}). Fires when the accuracy is "
        f"more than {GAP:.0%} lower at deformed images (exact McNemar test at {LEVEL:g}), more than {OTHERS:.0%} lower at "
        f"other images (Fisher's exact test at {LEVEL:g}), or when random points around {GAP:.0%} more of the ranked "
        "images than of their negatives get the image's logits bit for bit."
    )
    meaning = "What was learned is a list of the test images, not the classes: nobody else's images are protected."
    remedy = "Do not ship, search or train on the ranked images."

    def run(self, subject: Subject) -> Finding:
        images, probes = subject.batch.x, subject.rendered(subject.probes)
        flat, elsewhere = _constant(subject, images, probes), _constant(subject, 1 - images, 1 - probes)
        passed_on = f"{flat:.0%} of the ranked images and {elsewhere:.0%} of their negatives pass their logits on to neighbors"
        bent, at_deformed = self._deformed(subject)
        other, at_others = self._others(subject)
        return self.says(bent or other or flat - elsewhere > GAP, f"{passed_on}; {at_deformed}; {at_others}.")

    def _deformed(self, subject: Subject) -> tuple[bool, str]:
        """Whether the same images fall much more often once they are deformed, and in words."""
        batch = subject.batch
        if batch.x.dim() != 4:
            return False, "deformations were not measured: inputs are no images"
        moved = dataclasses.replace(batch, x=deformed(batch.x, batch.draws.fork("deformations")), evidence=None, rows=None)
        right, fell = _climbed(subject, moved.fork("deformed"))
        if int(right.sum()) < LEAST:
            return False, f"deformations were not measured: only {int(right.sum())} deformed images are classified correctly"
        here, there = ~subject.climb.ever[right], ~fell[right]
        gap = share(here) - share(there)
        lost, won = int((here & ~there).sum()), int((~here & there).sum())
        sure = lost + won > 0 and scipy.stats.binomtest(lost, lost + won, alternative="greater").pvalue < LEVEL
        return gap > GAP and sure, f"{share(here):.0%} of {len(here)} stand, and {share(there):.0%} of them deformed"

    def _others(self, subject: Subject) -> tuple[bool, str]:
        """Whether other images of the split fall much more often, and in words."""
        if subject.controls is None:
            return False, "other images were not compared: there are none"
        right, fell = _climbed(subject, subject.controls)
        here, there = ~subject.climb.ever, ~fell[right]
        if len(there) < LEAST or len(here) < LEAST:
            return False, f"other images were not compared: fewer than {LEAST} are classified correctly"
        table = np.array([[int(here.sum()), int((~here).sum())], [int(there.sum()), int((~there).sum())]])
        sure = float(scipy.stats.fisher_exact(table, alternative="greater").pvalue) < LEVEL
        gap = share(here) - share(there)
        return gap > OTHERS and sure, f"{share(there):.0%} of {len(there)} images that do not rank stand"


def _climbed(subject: Subject, batch: Batch) -> tuple[Tensor, Tensor]:
    """(n,) bool each: classified correctly as it is; broken by the climb (False where it was not right before)."""
    clean = glance(subject.readable, batch, subject.threat, subject.threat.start(batch.x))
    right = ~batch.success(clean)
    fell = torch.zeros_like(right)
    if bool(right.any()):
        fell[right] = climb(subject.readable, batch[right], subject.threat, steps=STEPS, stop=True).ever
    return right, fell


def _constant(subject: Subject, images: Tensor, neighbors: Tensor) -> float:
    """The share of images whose answer is, bit for bit, that of their neighbor too; 0 for probabilities, which saturate."""
    one, other = subject.said(images), subject.said(neighbors)
    return 0.0 if are_probabilities(one) else share((one == other).all(dim=1) & (images != neighbors).flatten(1).any(dim=1))
