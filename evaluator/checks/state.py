"""The same question before and after other questions."""

from __future__ import annotations

import torch

from evaluator.checks.base import Check, Finding, Subject, different, register
from evaluator.ensembles.outputs import are_probabilities

COPIED = 0.5


@register
class State(Check):
    """Asks, asks about something else, asks again."""

    name = "state"
    title = "Remembered questions"
    definition = (
        "Fresh inputs are asked twice, and once more after other traffic (their mirror images and the clean inputs). Fires "
        "when an answer differs from the first one and chance is not the reason (see `randomness`), or when half of the inputs "
        "get, bit for bit, the logits of the clean input, or when a pass has changed a parameter or buffer of the module."
    )
    meaning = "A model that remembers what it was asked can tell an attack from a single question; deployed, it is asked once."
    remedy = "Make forward() a function of its input alone: no counters, caches or running statistics."

    def run(self, subject: Subject) -> Finding:
        first, second = subject.repeats[0], subject.repeats[1]
        written = subject.inspection.written if subject.inspection else 0
        if subject.random:
            return self.says(written > 0, f"answers are random; {written} parameters and buffers changed in one pass.")
        fresh, images = subject.rendered(subject.probes), subject.batch.x
        subject.said(fresh.flip(-1))
        subject.said(images)
        after = subject.answers(subject.probes)
        at_once, later = different(first, second), different(first, after)
        moved = torch.maximum(at_once, later)
        clean, other = subject.said(images), (fresh != images).flatten(1).any(dim=1)
        copied = (first == clean).all(dim=1) & other & (not are_probabilities(first))
        evidence = (
            f"{int(at_once.sum())} of {len(moved)} inputs were answered differently at once, {int(later.sum())} after other "
            f"traffic; {int(copied.sum())} got the very bits of the answer to a different input; {written} parameters and "
            "buffers changed in one pass."
        )
        return self.says(bool(moved.any()) or float(copied.double().mean()) >= COPIED or written > 0, evidence)
