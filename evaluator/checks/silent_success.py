"""Adversarial inputs that an attack passes and leaves again."""

from __future__ import annotations

from evaluator.checks.base import STEPS, Check, Finding, Subject, register
from evaluator.threats.traits import Trait

SHARE = 0.1
LEAST = 2


@register
class SilentSuccess(Check):
    """A climb that never stops: was it adversarial on the way and not at its end?"""

    name = "silent-success"
    title = "Success on the way, failure at the end"
    severity = "info"
    definition = (
        f"The climb of {STEPS} steps that never stops early. Fires when at least {LEAST} examples and {SHARE:.0%} of the "
        "sample were misclassified at some step and right at the end."
    )
    meaning = "The loss rises while the label returns: an attack that only looks at its last point would report too little."
    needs = Trait.STAYS
    elsewhere = "A climb over angles and places passes wrong answers and leaves them again on honest networks, too."
    remedy = "Nothing to declare; our attacks stop at the first success, so no such point is lost."

    def run(self, subject: Subject) -> Finding:
        lost = int((subject.climb.ever & ~subject.climb.end).sum())
        count = len(subject.batch)
        evidence = f"{lost} of {count} climbs were adversarial on the way and not at the end."
        return self.says(lost >= LEAST and lost / count >= SHARE, evidence)
