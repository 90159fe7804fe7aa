"""The gradient that is handed out against the one that is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.gradients import glance, gradient_of
from evaluator.attacks.losses import margin
from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.checks.landscape import landscape
from evaluator.threats.traits import Trait

DIRECTIONS = 5
STEPS = (0.001, 0.008)  # bfloat16 rounds the first away; coarser steps would forgive a staircase of ten levels
COSINE = 0.5
SIGNS = 0.7


@dataclass(frozen=True)
class Fit:
    """How well the gradient foretells differences at one step size: median cosine over examples, share of equal signs."""

    h: float
    cosine: float
    signs: float

    @property
    def good(self) -> bool:
        """Whether a climb by such steps can follow it."""
        return self.cosine >= COSINE and self.signs >= SIGNS


@register
class GradientAccuracy(Check):
    """Compares directional derivatives by autograd with differences of the logits at points of the box."""

    name = "gradient-accuracy"
    title = "Gradients that do not fit the function"
    definition = (
        "g.(a - b) by autograd against L(a) - L(b) for the margin L, where a and b are a random point of the threat moved by h "
        f"forward and back along {DIRECTIONS} random sign directions and cut by the box (one-sided at its walls), for h in "
        f"{{{', '.join(f'{h:g}' for h in STEPS)}}}. Fires when at every h the median cosine over examples is below {COSINE:g} "
        f"or fewer than {SIGNS:.0%} of the signs agree. A network in low precision rounds the small step away and is judged "
        "by the larger one; one that is curved over the larger step, by the small one."
    )
    meaning = "An attack that follows a wrong gradient finds nothing, whether there is something or not."
    remedy = "Let autograd differentiate what forward() computes, or declare a stand-in: `bpda` in defense.toml."
    needs = Trait.RESIZABLE
    elsewhere = "Steps of pixel values are compared with a ball's; `zero-gradients` and the inspection look at all models."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.", curves=landscape(subject))
        near = Trait.PIXELWISE in subject.threat.traits and subject.threat.epsilon < STEPS[0]
        base = subject.batch.x if near else subject.probes
        directions = subject.batch.draws.fork("directions").signs(DIRECTIONS, *base.shape[1:])
        gradient = self._gradient(subject, base)
        fits = [self._fit(subject, base, gradient, directions, h) for h in STEPS]
        shown = ", ".join(f"{fit.cosine:.2f} at h = {fit.h:g} ({fit.signs:.0%} of the signs agree)" for fit in fits)
        return self.says(not any(fit.good for fit in fits), f"cosine with differences {shown}.", curves=landscape(subject))

    def _gradient(self, subject: Subject, base: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = base.detach().requires_grad_(True)
            return gradient_of(margin(subject.readable(leaf).float(), subject.batch).sum(), leaf)

    def _fit(self, subject: Subject, base: Tensor, gradient: Tensor, directions: Tensor, h: float) -> Fit:
        foretold, seen = [], []
        for number in range(DIRECTIONS):
            ends = [(base + sign * h * directions[:, number]).clamp(0, 1) for sign in (1, -1)]
            ahead, back = (margin(glance(subject.readable, subject.batch, subject.threat, end), subject.batch) for end in ends)
            foretold.append((gradient * (ends[0] - ends[1])).flatten(1).sum(dim=1))
            seen.append(ahead - back)
        by_autograd, by_differences = torch.stack(foretold, dim=1), torch.stack(seen, dim=1)
        cosine = float(functional.cosine_similarity(by_autograd, by_differences, dim=1).median())
        return Fit(h, cosine, float((by_autograd.sign() == by_differences.sign()).double().mean()))
