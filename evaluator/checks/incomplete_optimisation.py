"""A climb that ends while it still rises."""

from __future__ import annotations

from evaluator.checks.base import LONG, Check, Finding, Subject, register
from evaluator.report import Curve

LAST = 10
MOVING = 0.15  # after 100 steps 0.05 would do; after 30 honest networks reach 0.08


@register
class IncompleteOptimisation(Check):
    """How much of the rise of the best margin so far belongs to the last steps."""

    name = "incomplete-optimisation"
    title = "The climb ends while it still rises"
    severity = "info"
    definition = (
        f"The best margin so far of the climb of {LONG} steps, rescaled to [0, 1] over its own range, for examples that "
        f"stand to its end. Fires when its last {LAST} steps move it by more than {MOVING:g} (median, at least four)."
    )
    meaning = "An attack with more steps would find more than this one; what stands may stand for want of steps alone."
    remedy = "Nothing to declare; the official search takes more steps."

    def run(self, subject: Subject) -> Finding:
        standing = ~subject.long_climb.ever
        if int(standing.sum()) < 4:
            return self.says(False, "not measured: fewer than four examples stand.")
        best = subject.long_climb.margins[:, standing].cummax(dim=0).values
        rise = (best - best[0]) / (best[-1] - best[0]).clamp_min(1e-12)
        moved = float((rise[-1] - rise[-1 - LAST]).median())
        points = [(float(step), float(value)) for step, value in enumerate(rise.mean(dim=1))]
        curve = Curve(name="best margin so far", x="steps", y="share of its whole rise", points=points)
        evidence = f"the last {LAST} of {LONG} steps made {moved:.3f} of the whole rise (median of {int(standing.sum())})."
        return self.says(moved > MOVING, evidence, curves=[curve])
