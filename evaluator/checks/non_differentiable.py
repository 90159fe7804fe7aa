"""Operations without a gradient on the way from the input to the logits."""

from __future__ import annotations

from evaluator.checks.base import INSPECTED, Check, Finding, Severity, Subject, register
from evaluator.host.inspection import COSINE, HARD


@register
class NonDifferentiableOperations(Check):
    """Reads what the model's own process saw in one forward pass and in its parts."""

    name = "non-differentiable-operations"
    title = "Operations without a gradient"
    definition = (
        f"One forward pass on {INSPECTED} images inside the model's process, watched. Fires when an operation of "
        f"{{{', '.join(sorted(HARD))}}} is applied to something that depends on the input, when a value that autograd "
        "does not follow flows into the logits, when these have no gradient at all, or when a part (a module that is none of "
        "torch's own as they were) hands out vector-Jacobian products whose cosine with "
        f"central differences of its output is below {COSINE:g} (not measured where answers are random). "
        '"info" for custom autograd Functions that fit; `where` and `argmax` are reported but do not fire.'
    )
    meaning = "Where an operation stops the gradient, attacks that follow it stop too, and robustness is only apparent."
    remedy = "Declare a differentiable stand-in for the parts that are named: `bpda` in defense.toml."

    def run(self, subject: Subject) -> Finding:
        seen = subject.inspection
        if seen is None:
            return self.says(False, "not measured: the model is a function whose inside cannot be seen.")
        crooked = [] if subject.random else seen.crooked
        found = [f"{count} x {word}" for word, count in sorted(seen.operations.items())]
        found += [f"a gradient that does not fit in {name}" for name in crooked]
        found += [f"the custom Function {name}" for name in seen.functions]
        found += ["logits without a gradient"] * seen.cut
        severity: Severity = "unverified" if seen.hard or seen.cut or crooked else "info"
        fired = severity == "unverified" or bool(seen.functions)
        return self.says(fired, f"{', '.join(found) or 'nothing'} was seen between input and logits.", severity=severity)
