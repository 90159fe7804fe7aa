"""More steps must not change the outcome."""

from __future__ import annotations

from evaluator.checks.base import LONG, STEPS, Check, Finding, Subject, register, share
from evaluator.records.report import Curve
from evaluator.threats.traits import Trait

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
    needs = Trait.SETTLES
    elsewhere = "Elsewhere climbs converge more slowly on honest networks, too; the official search takes steps enough."
    remedy = "Nothing to declare; the entry's curve over steps shows where the accuracy settles."

    def run(self, subject: Subject) -> Finding:
        more, count = int(subject.long_climb.ever.sum()), len(subject.batch)
        evidence = f"{more} of {count} examples stood after {STEPS} steps and fell within {LONG}."
        return self.says(more / count > SHARE, evidence, curves=[self._by_steps(subject)])

    def _by_steps(self, subject: Subject) -> Curve:
        """Accuracy after every step of the short climb, then of the long one where that has found more."""
        fallen = (subject.climb.margins > 0).cummax(dim=0).values
        points = [(float(step), 1 - share(row)) for step, row in enumerate(fallen)]
        later = (subject.long_climb.margins > 0).cummax(dim=0).values.sum(dim=1)
        standing, count = len(subject.standing), len(subject.batch)
        points += [(float(step), (standing - int(later[step])) / count) for step in range(STEPS + 1, LONG + 1)]
        return Curve(name="climb", x="steps", y="accuracy", points=points)
