"""More steps must not change the outcome."""

from __future__ import annotations

from evaluator.checks.base import LONG, STEPS, Check, Finding, Subject, register

SHARE = 0.15


@register
class MoreSteps(Check):
    """Compares a short climb with a longer one."""

    name = "more-steps"
    title = "More steps change the outcome"
    severity = "info"
    definition = (
        f"Examples that stand after {STEPS} steps climb again for {LONG}. Fires when more than {SHARE:.0%} of the sample fall."
    )
    meaning = "The search has not converged at few steps; the official search takes many more."
    remedy = "Nothing to declare; the entry's curve over steps shows where the accuracy settles."

    def run(self, subject: Subject) -> Finding:
        more, count = int(subject.long_climb.ever.sum()), len(subject.batch)
        evidence = f"{more} of {count} examples stood after {STEPS} steps and fell within {LONG}."
        before, after = len(subject.standing) / count, (len(subject.standing) - more) / count
        return self.says(more / count > SHARE, evidence, curve=((STEPS, before), (LONG, after)))
