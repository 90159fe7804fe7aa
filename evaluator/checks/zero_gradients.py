"""Examples whose gradient is zero in every coordinate."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluator.attacks.gradients import gradient_of
from evaluator.attacks.losses import cross_entropy, difference_of_logits_ratio
from evaluator.checks.base import Check, Finding, Subject, register

_ROUNDED = 1e-9


@register
class ZeroGradients(Check):
    """Differentiates cross-entropy and DLR at clean inputs and at random points of the threat."""

    name = "zero-gradients"
    title = "Vanished gradients"
    definition = (
        "The gradients of cross-entropy and of DLR by the input are taken at the clean inputs, at one random point each and "
        "where the shared climb ended, of the examples that are classified correctly there. Fires when one of them is exactly "
        'zero in every coordinate for any example of the sample; only "info" when DLR, which the attacks climb on too, is not. '
        "Fires as well when the score of a declared detector has no gradient there."
    )
    meaning = "Where the gradient is zero, a gradient attack does not move, whatever the true robustness is."
    remedy = "Declare a differentiable stand-in for the layers that cut the gradient: `bpda` in defense.toml."

    def run(self, subject: Subject) -> Finding:
        flat_ce, flat_dlr, flat_score = 0, 0, 0
        for inputs in (subject.batch.x, subject.rendered(subject.probes), subject.rendered(subject.climb.points)):
            ce, dlr, score = _zeros(subject, inputs)
            flat_ce, flat_dlr = max(flat_ce, int(ce.sum())), max(flat_dlr, int(dlr.sum()))
            flat_score = max(flat_score, int(score.sum()))
        evidence = f"of {len(subject.batch)} examples the gradient is zero for {flat_ce} (cross-entropy) and {flat_dlr} (DLR)."
        if subject.reading.refuses:
            evidence = f"{evidence[:-1]}, that of the detector's score for {flat_score}."
        hidden = max(flat_dlr, flat_score) > 0
        return self.says(hidden or flat_ce > 0, evidence, severity="unverified" if hidden else "info")


def _zeros(subject: Subject, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) bool each: classified correctly, and the gradient of cross-entropy, of DLR, of a detector's score is zero.

    The gradient by the input, not by the point: how a threat renders its points is not the model's doing.
    """
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_(True)
        logits = subject.readable(leaf).float()
        ce = gradient_of(cross_entropy(logits, subject.batch).sum(), leaf, retain=True)
        dlr = gradient_of(difference_of_logits_ratio(logits, subject.batch).sum(), leaf, retain=True)
        own = subject.reading.answer(logits).score
        score = torch.ones_like(leaf) if own is None else gradient_of(own.sum(), leaf)
    right = ~subject.batch.success(logits.detach())  # beyond the boundary DLR may be constant: y third of all, say
    sizes = [gradient.flatten(1).abs().amax(dim=1) for gradient in (ce, dlr, score)]
    nothing = _ROUNDED * torch.maximum(sizes[0], sizes[1])  # the mean of a row without a score has a gradient of rounding
    return right & (sizes[0] == 0), right & (sizes[1] == 0), right & (sizes[2] <= nothing)
