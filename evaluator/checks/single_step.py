"""One step must not do better than many."""

from __future__ import annotations

from evaluator.attacks.fgsm import FGSM
from evaluator.attacks.gradients import glance
from evaluator.checks.base import LONG, STEPS, Check, Finding, Subject, register
from evaluator.threats.traits import Trait

BETTER = 2


@register
class SingleStep(Check):
    """FGSM against PGD."""

    name = "single-step-beats-iterative"
    title = "One step beats many"
    definition = (
        f"FGSM against the climb of {STEPS} steps and, where that fails, of {LONG}. Fires when at least {BETTER} examples fall "
        "to the single step and to neither climb."
    )
    meaning = "The loss surface misleads an attack that follows it step by step: the gradient is masked."
    remedy = "Look for layers whose gradient is noise or tiny near the clean input; declare a stand-in (`bpda`)."
    needs = Trait.RESIZABLE
    elsewhere = "Elsewhere one long step lands on another angle, place or set of pixels, which short steps need not pass."

    def run(self, subject: Subject) -> Finding:
        points = FGSM().run(subject.readable, subject.batch, subject.threat)
        fell = subject.batch.success(glance(subject.readable, subject.batch, subject.threat, points))
        iterative = subject.climb.ever.clone()
        iterative[subject.standing] = subject.long_climb.ever
        only = int((fell & ~iterative).sum())
        evidence = f"{only} of {len(fell)} examples fell to one step ({int(fell.sum())} in all) and not to many."
        return self.says(only >= BETTER, evidence)
