"""Probabilities instead of logits."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, register
from evaluator.ensembles.outputs import are_probabilities


@register
class SoftmaxOutput(Check):
    """Looks whether the answers are non-negative and sum to one."""

    name = "softmax-output"
    title = "Probabilities instead of logits"
    severity = "info"
    definition = "Fires when every row of answers is non-negative and sums to 1 within 1e-4."
    meaning = "Losses on probabilities lose their gradient where the model is confident; the attacks climb on the logarithms."
    remedy = "Return logits."

    def run(self, subject: Subject) -> Finding:
        fired = are_probabilities(subject.repeats[0])
        return self.says(fired, "the model answers probabilities." if fired else "the model answers logits.")
