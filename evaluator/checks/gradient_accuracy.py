"""The gradient that is handed out against the one that is there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from evaluator.attacks.gradients import glance, gradient_of
from evaluator.attacks.losses import margin
from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.checks.landscape import landscape

DIRECTIONS = 5
STEP = 1e-3
COSINE = 0.5
SIGNS = 0.7


@register
class GradientAccuracy(Check):
    """Compares directional derivatives by autograd with central differences of the logits."""

    name = "gradient-accuracy"
    title = "Gradients that do not fit the function"
    definition = (
        f"g.d by autograd against (L(z + h d) - L(z - h d)) / 2h for the margin L, {DIRECTIONS} random sign directions d per "
        f"example and h in {{{STEP:g}, epsilon/4, epsilon}} (at most 0.1), at random points z of the threat. Fires when at the "
        f"smallest h the median cosine over examples is below {COSINE:g} or fewer than {SIGNS:.0%} of the signs agree; the "
        "larger h are shown."
    )
    meaning = "An attack that follows a wrong gradient finds nothing, whether there is something or not."
    remedy = "Let autograd differentiate what forward() computes, or declare a stand-in: `bpda` in defense.toml."
    kinds = ("linf", "l2", "l1")

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.", curves=landscape(subject))
        unit = subject.threat.epsilon if subject.threat.kind == "linf" else 0.1
        base = subject.threat.start(subject.batch.x) if unit < STEP else subject.probes
        directions = subject.batch.draws.fork("directions").signs(DIRECTIONS, *base.shape[1:])
        by_autograd = (self._gradient(subject, base)[:, None] * directions).flatten(2).sum(dim=2)
        curve = []
        for h in sorted({STEP, min(unit / 4, 0.1), min(unit, 0.1)}):
            by_differences = self._differences(subject, base, directions, h)
            curve.append((h, float(functional.cosine_similarity(by_autograd, by_differences, dim=1).median())))
            if h == STEP:
                signs = float((by_autograd.sign() == by_differences.sign()).double().mean())
        cosine = dict(curve)[STEP]
        shown = ", ".join(f"{value:.2f} at h = {h:.3g}" for h, value in curve)
        evidence = f"cosine with central differences {shown}; {signs:.0%} of the signs agree at h = {STEP:g}."
        return self.says(cosine < COSINE or signs < SIGNS, evidence, curves=landscape(subject))

    def _gradient(self, subject: Subject, base: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = base.detach().requires_grad_(True)
            return gradient_of(margin(subject.readable(leaf).float(), subject.batch).sum(), leaf)

    def _differences(self, subject: Subject, base: Tensor, directions: Tensor, h: float) -> Tensor:
        """(n, directions) float32."""
        columns = []
        for number in range(DIRECTIONS):
            ends = []
            for sign in (1, -1):
                points = base + sign * h * directions[:, number]
                ends.append(margin(glance(subject.readable, subject.batch, subject.threat, points), subject.batch))
            columns.append((ends[0] - ends[1]) / (2 * h))
        return torch.stack(columns, dim=1)
