"""What every certificate returns, and the preconditions shared by all methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.errors import InputError

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Certificates:
    """Lower bounds on robustness, one entry per example, in data order (CPU tensors).

    method: what computed them. radius: (n,) float64, no input closer than this (in `norm`) changes a *correct* decision;
    0 where nothing is certified. certified: (n,) bool, the asked-for statement holds (radius methods: radius > 0).
    abstained: (n,) bool, neither certified nor refuted (too little evidence, a bound too loose, out of time).
    samples: (n,) int64, model rows spent on the example. seconds: wall time. details: method's own figures.
    expected_false: bound on the expected number of false certificates (0 for deterministic methods).
    """

    method: str
    norm: str
    radius: Tensor
    certified: Tensor
    abstained: Tensor
    samples: Tensor
    seconds: float
    expected_false: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.radius)

    def summary(self) -> str:
        """The result in three lines for a terminal."""
        n, certified, undecided = len(self), int(self.certified.sum()), int(self.abstained.sum())
        average = float(self.radius.mean()) if n else 0.0
        return (
            f"{self.method}: {certified} of {n} certified ({certified / max(n, 1):.1%}), {undecided} undecided, "
            f"average certified radius {average:.3f} ({self.norm})\n"
            f"{int(self.samples.sum())} model rows, {self.seconds:.1f} s\n"
            f"expected number of false certificates: at most {self.expected_false:.3g}"
        )


def labels(logits: Tensor) -> Tensor:
    """(n,) int64: the class of each row of logits (n, K), -1 where one of them is NaN or infinite: that names no class."""
    return torch.where(torch.isfinite(logits).all(dim=1), logits.argmax(dim=1), -1)


def check_batch(x: Tensor, y: Tensor) -> None:
    """Raises InputError unless x is a finite batch in [0, 1] and y holds one int64 label per example."""
    if x.dim() < 2 or y.dim() != 1 or len(x) != len(y):
        raise InputError(f"x {tuple(x.shape)} and y {tuple(y.shape)} do not fit.", help="Pass a batch and its labels.")
    if len(x) and not bool((x >= 0).logical_and(x <= 1).all()):
        raise InputError("inputs must lie in [0, 1] and be finite.", help="Put normalisation inside the model.")
    if y.dtype != torch.int64 or (len(y) and int(y.min()) < 0):
        raise InputError("labels must be non-negative int64.")


def check_deterministic(model: Model, x: Tensor) -> None:
    """Raises InputError unless the model's label for an input depends on that input alone.

    Smoothing speaks of E[f(x + d)] over the evaluator's own noise. A base model with randomness of its own, or whose answer
    depends on its companions in the batch, is another function at every call. Asked: the same batch twice, and in reverse
    order. A change of batch may move logits by float rounding, so a label that changes counts only beyond 1e-3 of margin.
    """
    if isinstance(model, nn.Module) and any(part.training for part in model.modules()):
        raise InputError("the model is in training mode.", help="Call model.eval() before certifying.")
    if not len(x):
        return
    with torch.no_grad():
        first, second, reverse = model(x), model(x), model(x.flip(0)).flip(0)
    if first.dim() != 2 or len(first) != len(x):
        raise InputError(f"the model answers {tuple(first.shape)} for {len(x)} inputs.", help="It must return (n, K) logits.")
    known = torch.nan_to_num(first)  # what is not finite must be so every time, too
    tolerance = 1e-3 * known.abs().amax().clamp_min(1.0)
    for other, how in ((second, "the same batch asked twice"), (reverse, "the same batch in reverse order")):
        if float((known - torch.nan_to_num(other)).abs().amax()) > float(tolerance):
            raise InputError(
                f"the base model is not deterministic: logits differ for {how}.",
                help="Smoothing adds its own noise; remove randomness and batch statistics from the base model.",
            )
