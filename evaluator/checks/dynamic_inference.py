"""Gradients computed inside forward()."""

from __future__ import annotations

from evaluator.checks.base import Check, Finding, Subject, register


@register
class DynamicInference(Check):
    """Reads whether the model's own process saw forward() call autograd, or fail where no gradient can be made."""

    name = "dynamic-inference"
    title = "An optimization inside the answer"
    definition = (
        "Fires when forward() calls autograd, or when it succeeds without gradients and fails under `torch.inference_mode`, "
        "on the images of `non-differentiable-operations`."
    )
    meaning = "A model that optimizes while it answers hides its real gradient behind the loop and costs many passes."
    remedy = "Declare a stand-in for the part with the loop (often the identity): `bpda` in defense.toml."

    def run(self, subject: Subject) -> Finding:
        seen = subject.inspection
        if seen is None:
            return self.says(False, "not measured: the model is a function whose inside cannot be seen.")
        what = "differentiates" if seen.dynamic else "differentiates nothing"
        return self.says(seen.dynamic, f"forward() {what} while it answers.")
