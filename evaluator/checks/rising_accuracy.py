"""Accuracy must not rise with epsilon."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.records.report import Curve
from evaluator.threats.traits import Trait

RISE = 0.1


@register
class RisingAccuracy(Check):
    """Accuracy under the same climb at growing epsilon."""

    name = "accuracy-rising-with-epsilon"
    title = "Accuracy rises with epsilon"
    definition = (
        f"Short climbs at 1/4, 1/2, 1 and 2 times epsilon. Fires when accuracy rises by more than {RISE:.0%} of the sample "
        "from one to a larger one."
    )
    meaning = "A larger set holds every point of a smaller one: if less is found there, the search is lost, not the set empty."
    remedy = "Look for gradients that are right near the clean input only; declare a stand-in (`bpda`)."
    needs = Trait.RESIZABLE
    elsewhere = "Only these balls have an epsilon that can be scaled alone."

    def run(self, subject: Subject) -> Finding:
        points = [(factor * subject.threat.epsilon, value) for factor, value in subject.by_epsilon.items()]
        values = [value for _, value in points]
        rise = max(values[j] - values[i] for i in range(len(values)) for j in range(i + 1, len(values)))
        evidence = "accuracy " + ", ".join(f"{value:.0%} at {epsilon:.3g}" for epsilon, value in points) + "."
        curve = Curve(name="climb of 7 steps", x="epsilon", y="accuracy", points=[(0.0, 1.0), *points])
        return self.says(rise > RISE, evidence, curves=[curve])
