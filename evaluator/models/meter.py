"""What the scorer asks a model through: every row is charged before it is computed, every answer is checked.

One forward row is one image through the model, one backward row is one image's vector-Jacobian product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from evaluator.errors import SubmissionError
from evaluator.models.reading import ARGMAX, Reading
from evaluator.models.reservoir import Reservoir, View, itself
from evaluator.records.cost import cost
from evaluator.records.report import SubmissionReason

_SHAPE_HELP = "Return one row of logits per image; with detector = true one column more, the detector's score."


class BudgetExhausted(Exception):
    """The row budget is spent; the call was refused before anything was computed."""


@dataclass
class Meter:
    """Exact counts. budget: the largest allowed cost (`evaluator.records.cost`), None for unlimited.

    whole: the meter of which this one counts a part.
    """

    budget: int | None = None
    forward_rows: int = 0
    backward_rows: int = 0
    whole: Meter | None = None

    @property
    def cost(self) -> int:
        """Weighted rows so far."""
        return cost(self.forward_rows, self.backward_rows)

    def charge(self, *, forward: int = 0, backward: int = 0) -> None:
        """Counts rows about to be computed. Raises BudgetExhausted, counting nothing, when they do not fit."""
        if self.budget is not None and self.cost + cost(forward, backward) > self.budget:
            raise BudgetExhausted(f"the budget of {self.budget} rows is spent")
        if self.whole is not None:
            self.whole.charge(forward=forward, backward=backward)
        self.forward_rows += forward
        self.backward_rows += backward

    @contextmanager
    def at_most(self, cost: int) -> Iterator[None]:
        """Refuses, inside the block, what would cost more than `cost` from here on: `charge` raises BudgetExhausted."""
        before, here = self.budget, self.cost + cost
        self.budget = here if before is None else min(here, before)
        try:
            yield
        finally:
            self.budget = before


class _Disconnected(torch.autograd.Function):
    """Identity on the logits that gives x a zero gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.zeros_like(x), None


def well_formed(logits: object, rows: int, columns: int) -> Tensor:
    """What a model answered to so many images, if it is float32 (rows, columns). Raises SubmissionError(shape | dtype)."""
    if not isinstance(logits, Tensor):
        raise SubmissionError(SubmissionReason.SHAPE, f"the model answered a {type(logits).__name__}, not a tensor of logits.")
    if tuple(logits.shape) != (rows, columns):
        what = f"the model answered shape {tuple(logits.shape)} to {rows} images; it must be ({rows}, {columns})."
        raise SubmissionError(SubmissionReason.SHAPE, what, help=_SHAPE_HELP)
    if logits.dtype != torch.float32:
        what = f"the model answered {str(logits.dtype).removeprefix('torch.')}; it must be float32."
        raise SubmissionError(SubmissionReason.DTYPE, what, help="End forward() with .float().")
    return logits


@runtime_checkable
class Mixing(Protocol):
    """A model that composes the passes of several askers (`evaluator.models.scheduler`)."""

    def together(self, *acts: Callable[[], None]) -> None:
        """Runs `acts` side by side."""


class MeteredModel(nn.Module):
    """A model as the scorer sees it: charged, checked, interruptible. Works for in-process modules and for proxies.

    classes: the number of logits an answer must have. tick: called before every pass (progress, cancellation). reservoir: keeps
    a sample of what was asked and answered; view: how `model` was made from the one that the reservoir is about. reading: how
    many columns the model answers, and which logits are made of them.
    Raises SubmissionError when an answer has the wrong type, shape or dtype, or is not finite.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        meter: Meter,
        *,
        classes: int,
        tick: Callable[[], None] = lambda: None,
        reservoir: Reservoir | None = None,
        view: View = itself,
        reading: Reading = ARGMAX,
    ) -> None:
        super().__init__()
        self._model, self.meter, self.classes, self._tick = model, meter, classes, tick
        self.reading = reading
        self._reservoir, self._view = reservoir, view

    def forward(self, x: Tensor) -> Tensor:
        """x (n, *shape) in [0, 1] -> logits (n, classes) float32, differentiable in x."""
        self._tick()
        self.meter.charge(forward=len(x))
        if not (torch.is_grad_enabled() and x.requires_grad):
            with torch.no_grad():
                answer = self._checked(self._model(x), x)
            if self._reservoir is not None:
                self._reservoir.answered(self._view, x, answer)
            return answer
        inner = x.view_as(x)
        inner.register_hook(self._check_gradient)
        logits = self._checked(self._model(inner), x)
        if not logits.requires_grad:  # the model cut the graph: its gradient is zero, which the honesty checks will see
            logits = _Disconnected.apply(inner, logits)  # type: ignore[no-untyped-call]
        if self._reservoir is not None:
            kept = self._reservoir.asked_with_gradient(self._view, x, logits)
            if kept is not None:
                inner.register_hook(kept.gradient)
                logits.register_hook(kept.cotangent)
        logits.register_hook(self._charge_backward)
        return logits

    def through(self, change: View, *, repeatable: bool = True) -> MeteredModel:
        """The same model behind `change`, on the same meter. repeatable: its answers to a row do not depend on the pass."""
        before = self._view
        return MeteredModel(
            change(self._model),
            self.meter,
            classes=self.classes,
            tick=self._tick,
            reservoir=self._reservoir if repeatable else None,
            view=lambda model: change(before(model)),
            reading=self.reading,
        )

    def on(self, meter: Meter) -> MeteredModel:
        """The same model, charged to `meter`."""
        return MeteredModel(
            self._model,
            meter,
            classes=self.classes,
            tick=self._tick,
            reservoir=self._reservoir,
            view=self._view,
            reading=self.reading,
        )

    def together(self, *acts: Callable[[], None]) -> None:
        """Runs several who ask this model: side by side where passes are composed, else one after the other."""
        if isinstance(self._model, Mixing):
            self._model.together(*acts)
        else:
            for act in acts:
                act()

    def _charge_backward(self, cotangent: Tensor) -> None:
        self._tick()
        self.meter.charge(backward=len(cotangent))

    def _check_gradient(self, gradient: Tensor) -> None:
        if not bool(torch.isfinite(gradient).all()):
            what = "the gradient of the logits is NaN or Inf for an input inside [0, 1]."
            raise SubmissionError(SubmissionReason.NOT_FINITE, what, help="Look for sqrt, log, norm or division at 0.")

    def _checked(self, answer: object, x: Tensor) -> Tensor:
        rows, logits = len(x), self.reading.climbed(well_formed(answer, len(x), self.reading.columns(self.classes)))
        if not bool(torch.isfinite(logits).all()):
            bad = (~torch.isfinite(logits)).any(dim=1)
            inside = bad & ((x >= 0) & (x <= 1)).flatten(1).all(dim=1)
            if bool(inside.any()):
                what = f"the model answered NaN or Inf for {int(inside.sum())} of {rows} images inside [0, 1]."
                raise SubmissionError(SubmissionReason.NOT_FINITE, what, help="Every input in [0, 1] must give finite logits.")
            what = f"the model answered NaN or Inf for {int(bad.sum())} of {rows} images outside [0, 1]."
            help_ = "Only the noise of smoothing, where defense.toml asks for it, leaves [0, 1]: clamp inside forward()."
            raise SubmissionError(SubmissionReason.NOT_FINITE, what, help=help_)
        return logits
