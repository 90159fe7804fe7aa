"""An answer must not depend on its neighbours in the batch."""

from __future__ import annotations

import torch

from evaluator.checks.base import Check, Finding, Subject, different, register

ALONE = 4


@register
class BatchDependence(Check):
    """Permutes a batch, and asks some of its rows alone."""

    name = "batch-dependence"
    title = "Answers that depend on the batch"
    definition = (
        f"f(x)[perm] is compared with f(x[perm]), and {ALONE} inputs asked alone with the same inputs in the batch. Fires when "
        "an answer differs (same tolerance as `randomness`) and chance is not the reason."
    )
    meaning = "Attacks and the verification batch differently, so neither sees the model that the other saw."
    remedy = "Put the model into eval mode: no batch statistics, no normalisation over the batch."

    def run(self, subject: Subject) -> Finding:
        if subject.random:
            return self.says(False, "not measured: answers are random.")
        known = subject.repeats[-1]
        order = subject.batch.draws.fork("order").uniform(1).squeeze(1).argsort(stable=True)
        permuted = subject.answers(subject.probes[order], order)
        rows = [slice(i, i + 1) for i in range(min(ALONE, len(known)))]
        alone = [subject.answers(subject.probes[row], row) for row in rows]
        moved = int(different(known[order], permuted).sum())
        parted = int(different(known[: len(alone)], torch.cat(alone)).sum())
        evidence = f"{moved} of {len(known)} answers changed with the order of the batch, {parted} of {len(alone)} when alone."
        return self.says(moved + parted > 0, evidence)
