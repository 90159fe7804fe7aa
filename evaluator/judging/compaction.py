"""Makes verified adversarial points small, and only as small as still breaks: every coarser form is re-checked like a claim."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluator.attacks.base import Model
from evaluator.data.tensors import Examples
from evaluator.errors import InputError
from evaluator.judging.verification import verify
from evaluator.models.reading import ARGMAX, Reading
from evaluator.records.adversarial_archive import HALVES, LEVELS, POINTS, STEPS, AdversarialArchive
from evaluator.threats.base import Threat, flat, rows

_GRID = 2.0**16  # scales are multiples of 1 / _GRID
_ROUNDING = 2.0**-20  # of a rebuilt point in float32, and below the slack that claims have
_STEP_ROUNDING = 0.01

StillBreaks = Callable[[Tensor, Tensor], Tensor]


def compact(
    examples: Examples, threat: Threat, points: Tensor, broken: Tensor, still_breaks: StillBreaks
) -> AdversarialArchive:
    """The archive of the points at `broken` ((n,) bool).

    still_breaks(points, claimed) -> (n,) bool verifies points of all examples where claimed. Perturbations are rounded
    towards zero, so that a coarser form is rarely outside the threat: first to 127 steps of their largest coordinate, then
    to float16. What then no longer breaks is stored as it is.
    """
    start = threat.start(examples.x)
    form = torch.full((len(examples),), POINTS, dtype=torch.uint8)
    scale, steps = _steps(start, points)
    stepped = still_breaks(_boxed(_from_steps(start, scale, steps), examples, threat), broken) & broken
    form[stepped] = STEPS
    halves, rest = _halves(start, points), broken & ~stepped
    if bool(rest.any()):
        form[rest & still_breaks(_boxed(start + halves.float(), examples, threat), rest)] = HALVES
    kept = [broken & (form == kind) for kind in (STEPS, HALVES, POINTS)]
    return AdversarialArchive(
        ids=examples.ids[broken].numpy(),
        form=form[broken].numpy(),
        scale=scale[kept[STEPS]].numpy(),
        steps=steps[kept[STEPS]].numpy(),
        halves=halves[kept[HALVES]].numpy(),
        points=points[kept[POINTS]].float().numpy(),
    )


def compact_broken(
    model: Model,
    fallen: Examples,
    threat: Threat,
    points: Tensor,
    seed: int,
    reading: Reading = ARGMAX,
) -> AdversarialArchive:
    """The archive of points that were verified to break `model` on each of `fallen`; coarser forms are asked of it again."""

    def still_breaks(candidates: Tensor, claimed: Tensor) -> Tensor:
        return verify(model, fallen, threat, candidates, claimed, seed, reading).broken

    return compact(fallen, threat, points, torch.ones(len(fallen), dtype=torch.bool), still_breaks)


def expand(archive: AdversarialArchive, examples: Examples, threat: Threat) -> tuple[Tensor, Tensor]:
    """Points for all of `examples` and (n,) bool where the archive has one; ids of other examples are left out.

    Raises InputError when the stored points are not points of this threat at these images.
    """
    start = threat.start(examples.x)
    if len(archive) and archive.points.shape[1:] != start.shape[1:]:
        what = f"holds points of shape {archive.points.shape[1:]}, where this challenge has {tuple(start.shape[1:])}."
        raise InputError(what, where="adversarial", help="Replay inputs of the same challenge.")
    place = {number: row for row, number in enumerate(examples.ids.tolist())}
    at = torch.tensor([place.get(number, -1) for number in archive.ids.tolist()], dtype=torch.int64)
    here = at >= 0
    points, stored = start.clone(), torch.zeros(len(examples), dtype=torch.bool)
    stored[at[here]] = True
    form = torch.from_numpy(archive.form)
    for kind, rebuild in (
        (STEPS, lambda s, own: _from_steps(s, torch.from_numpy(archive.scale)[own], torch.from_numpy(archive.steps)[own])),
        (HALVES, lambda s, own: s + torch.from_numpy(archive.halves)[own].float()),
        (POINTS, lambda s, own: torch.from_numpy(archive.points)[own]),
    ):
        own = here[form == kind]
        to = at[(form == kind) & here]
        points[to] = rebuild(start[to], own)
    return _boxed(points, examples, threat), stored


def _boxed(points: Tensor, examples: Examples, threat: Threat) -> Tensor:
    """Where points are inputs: rounding may not carry one out of the box."""
    inputs = points.shape == examples.x.shape and torch.equal(threat.start(examples.x), examples.x)
    return points.clamp(*threat.box) if inputs else points


def _steps(start: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    move = points.double() - start.double()
    scale = ((flat(move.abs()).amax(dim=1) + _ROUNDING) * _GRID).floor() / _GRID
    count = move.abs() / rows(torch.where(scale > 0, scale, torch.inf), move) * LEVELS
    return scale, (move.sign() * (count + _STEP_ROUNDING).floor().clamp(max=LEVELS)).to(torch.int8)


def _from_steps(start: Tensor, scale: Tensor, steps: Tensor) -> Tensor:
    return (start.double() + steps.double() * rows(scale, steps) / LEVELS).to(start.dtype)


def _halves(start: Tensor, points: Tensor) -> Tensor:
    """The perturbation in float16, rounded towards zero."""
    move: NDArray[np.float64] = (points.double() - start.double()).numpy()
    with np.errstate(over="ignore"):
        half = move.astype(np.float16)
    farther = np.abs(half.astype(np.float64)) > np.abs(move) + _ROUNDING
    return torch.from_numpy(np.where(farther, np.nextafter(half, np.float16(0)), half))
