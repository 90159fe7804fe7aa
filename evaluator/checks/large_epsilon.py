"""With no bound at all every classifier falls."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, register, share
from evaluator.checks.climbs import climb
from evaluator.threats.traits import Trait

ALLOWED = 0.1
STEPS = 20


@register
class LargeEpsilon(Check):
    """A climb in a ball that covers the whole box."""

    name = "large-epsilon"
    title = "Unbounded attacks fail"
    definition = (
        f"A climb of {STEPS} steps with an epsilon that lets every image become every other one. Fires when more than "
        f"{ALLOWED:.0%} of the sample stand."
    )
    meaning = "Some image of another class is always allowed here; a search that finds none cannot find smaller ones either."
    remedy = "Look for what keeps gradients from reaching the input; declare a stand-in (`bpda`)."
    needs = Trait.RESIZABLE
    elsewhere = "Only these balls have a size at which they hold every image."

    def run(self, subject: Subject) -> Finding:
        everything = subject.threat.covering(subject.batch.x[0].numel())
        left = 1 - share(climb(subject.readable, subject.batch.fork("large"), everything, steps=STEPS, stop=True).ever)
        evidence = f"{left:.0%} of the sample stand when any image is allowed (epsilon {everything.epsilon:.3g})."
        return self.says(left > ALLOWED, evidence)
