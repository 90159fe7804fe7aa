"""A climb that ends while it still rises."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.checks.climbs import climb
from evaluator.records.report import Curve
from evaluator.threats.traits import Trait

EXAMPLES, STEPS, LAST = 8, 100, 10
LEAST = 4
MOVING = 0.05


@register
class IncompleteOptimisation(Check):
    """How much of the rise of the best margin so far belongs to the last steps."""

    name = "incomplete-optimisation"
    title = "The climb ends while it still rises"
    severity = "info"
    definition = (
        f"The best margin so far of a climb of {STEPS} steps, rescaled to [0, 1] over its own range, on {EXAMPLES} examples of "
        f"which {LEAST} or more stand to its end. Fires when its last {LAST} steps move it by more than {MOVING:g} (median)."
    )
    meaning = "An attack with more steps would find more than this one; more steps may still break what is left."
    remedy = "Nothing to declare; the official search takes more steps."
    needs = Trait.WHOLE
    elsewhere = "A climb by single pixels or patches may rise to its last step on honest networks."

    def run(self, subject: Subject) -> Finding:
        left = subject.standing[~subject.long_climb.ever][:EXAMPLES]
        if len(left) < LEAST:
            return self.says(False, f"not measured: fewer than {LEAST} examples stand.")
        slow = climb(subject.readable, subject.batch.fork("slow")[left], subject.threat, steps=STEPS, stop=True)
        standing = ~slow.ever
        if int(standing.sum()) < LEAST:
            return self.says(False, f"not measured: fewer than {LEAST} examples stand.")
        best = slow.margins[:, standing].cummax(dim=0).values
        rise = (best - best[0]) / (best[-1] - best[0]).clamp_min(1e-12)
        moved = float((rise[-1] - rise[-1 - LAST]).median())
        points = [(float(step), float(value)) for step, value in enumerate(rise.mean(dim=1)) if step % 2 == 0]
        curve = Curve(name="best margin so far", x="steps", y="share of its whole rise", points=points)
        evidence = f"the last {LAST} of {STEPS} steps made {moved:.3f} of the whole rise (median of {int(standing.sum())})."
        return self.says(moved > MOVING, evidence, curves=[curve])
