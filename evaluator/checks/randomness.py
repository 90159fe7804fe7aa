"""The same question five times."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, different, register

TOLERANCE = 1e-4


@register
class Randomness(Check):
    """Repeats one batch of fresh inputs and compares the answers."""

    name = "randomness"
    title = "Random answers"
    definition = (
        "The same fresh inputs are asked five times in a row. Fires when the number of correct answers differs or the lead of "
        f"the class that wins moves by more than {TOLERANCE:g} of itself between the later four."
    )
    meaning = "One gradient of a random model says little, and one lucky draw is no success."
    remedy = (
        "Declare `randomized = true` and the number of `votes` in defense.toml; the entry is then judged by votes. Where "
        "nothing in it is random, its answers depend on the other rows of a pass: put the model into eval mode."
    )

    def run(self, subject: Subject) -> Finding:
        later = subject.repeats[1:]
        moved = different(later[:-1], later[1:], TOLERANCE).any(dim=0)
        correct = (later.argmax(dim=2) == subject.batch.y).sum(dim=1)
        fired = subject.random or int(correct.max()) != int(correct.min())
        evidence = (
            f"{int(moved.sum())} of {len(moved)} inputs were answered differently when repeated; "
            f"{int(correct.min())} to {int(correct.max())} were correct."
        )
        return self.says(fired, evidence, severity="info" if subject.reading.random else None)
