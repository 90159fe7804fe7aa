"""What an attack returns is a claim: shape, dtype, finiteness, box and budget are checked here, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.data.tensors import Examples
from evaluator.records.cell_report import Violation, ViolationKind
from evaluator.threats.base import SLACK, Threat, flat, rows


@dataclass(frozen=True)
class Claims:
    """points: one of the threat per example, the clean one in place of what cannot count. valid: (n,) bool, what may be scored.

    violations: every example whose claim cannot count, by kind.
    """

    points: Tensor
    valid: Tensor
    violations: list[Violation]


def check_claims(returned: Tensor, examples: Examples, threat: Threat) -> Claims:
    """Judges what an attack returned for `examples`; nothing is projected, clamped or converted."""
    start = threat.start(examples.x)
    refused = torch.zeros(len(examples), dtype=torch.bool)
    if returned.shape != start.shape:
        detail = f"the shape must be {tuple(start.shape)}, not {tuple(returned.shape)}."
        return Claims(start, refused, [_violation("shape", ~refused, examples, detail)])
    if returned.dtype != start.dtype:
        detail = f"the dtype must be {_name(start.dtype)}, not {_name(returned.dtype)}."
        return Claims(start, refused, [_violation("dtype", ~refused, examples, detail)])
    finite = flat(torch.isfinite(returned)).all(dim=1)
    points = torch.where(rows(finite, start), returned, start)
    rendered = threat.apply(examples.x, points)
    low, high = threat.box
    boxed = flat((rendered >= low) & (rendered <= high)).all(dim=1)
    distance = threat.distance(examples.x, points)
    near = (distance <= threat.epsilon + SLACK) & (threat.contains(examples.x, points) | ~boxed)
    valid = finite & boxed & near
    worst = float(distance.max()) if len(examples) else 0.0
    found = [
        _violation("non-finite", ~finite, examples, "NaN or Inf in the returned point."),
        _violation("box", ~boxed, examples, f"values outside [{low:g}, {high:g}]."),
        _violation("budget", ~near, examples, f"up to {worst:.8g} from the image; {threat.epsilon:g} is allowed."),
    ]
    return Claims(torch.where(rows(valid, start), points, start), valid, [each for each in found if each.count])


def _violation(kind: ViolationKind, where: Tensor, examples: Examples, detail: str) -> Violation:
    ids = examples.ids[where].tolist()
    return Violation(kind=kind, count=len(ids), ids=ids, detail=detail)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
