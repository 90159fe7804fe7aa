"""Opt-Attack and Sign-OPT: minimise the distance to the boundary over directions, from labels (Cheng et al. 2019,
"Query-Efficient Hard-label Black-box Attack: An Optimization-based Approach"; Cheng et al. 2020, "Sign-OPT")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.decision import Search, boundary_steps, unit_l2
from evaluator.attacks.minimal_norm import CountedMinimalNorm
from evaluator.attacks.queries import Queries
from evaluator.attacks.registry import register
from evaluator.attacks.rows import wide
from evaluator.attacks.validation import at_least, one_of, positive
from evaluator.threats.base import Threat, flat

_STEP_FACTORS = (1.0, 2.0, 4.0, 0.5, 0.25, 0.0625)  # tried in this order around the last accepted step
_REFINEMENTS = 12  # halvings of a distance that is known to be shorter
_SPREAD = 0.05  # share of the distance by which a neighbouring direction's may differ ("rgf")
_SPREAD_HALVINGS = 8


@register(
    "opt_attack",
    title="Opt-Attack (Sign-OPT)",
    access="labels",
    threats=("linf", "l2"),
    paper="Cheng et al. 2019, alg. 1; Cheng et al. 2020, alg. 1",
    targeted=False,
)
@dataclass(frozen=True)
class OptAttack(CountedMinimalNorm):
    """Descends g(direction) = distance to the boundary that way: coarse search, then estimated gradients and a line search.

    queries: labels per example, everything included. trials: random images tried as a first direction (coarse search: one
    label each, kept only when nearer than the best). estimator: "sign" spends one label per random direction, on whether g
    rises or falls (Sign-OPT); "rgf" measures the difference by halving (Opt-Attack, about ten labels each). samples: random
    directions per gradient. smoothing: their length relative to the direction.
    Returns the closest adversarial point found, the clean one where there is none.
    """

    queries: int = 5000
    trials: int = 50
    estimator: Literal["sign", "rgf"] = "sign"
    samples: int = 100
    smoothing: float = 0.01

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries, trials=self.trials, samples=self.samples)
        positive(smoothing=self.smoothing)
        one_of(("sign", "rgf"), estimator=self.estimator)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        search = Search(Queries(model, batch, threat, self.spendable))
        rows = search.first_points(self.trials)
        search.to_boundary(rows, search.closest[rows], steps=boundary_steps(threat, batch.x[:1].numel()))
        self._coarse(search, rows)
        size = torch.full((len(batch),), 0.2, device=batch.x.device)
        cost = self.samples * (1 if self.estimator == "sign" else _SPREAD_HALVINGS)
        iteration = 0
        while True:
            rows = search.queries.affordable(rows, cost + 1)
            rows = rows[(search.distance[rows] > 0) & (size[rows] > 1e-6)]
            if not len(rows):
                return search.closest
            part = batch[rows].fork(iteration)
            direction = _unit(search.closest[rows] - part.x, threat)
            gradient = self._gradient(search, part, rows, direction)
            size[rows] = _descend(search, rows, direction, gradient, size[rows])
            iteration += 1

    def _coarse(self, search: Search, rows: Tensor) -> None:
        """Random directions at the best distance so far: one that is adversarial there is nearer, and is followed."""
        for trial in range(self.trials):
            rows = search.queries.affordable(rows, 1)
            if not len(rows):
                return
            part = search.batch[rows].fork(f"coarse {trial}")
            direction = _unit(part.draws.uniform(*part.x.shape[1:]).to(part.x) - part.x, search.threat)
            _shorten(search, rows, direction)

    def _gradient(self, search: Search, part: Batch, rows: Tensor, direction: Tensor) -> Tensor:
        """(m, *shape) estimate of g's steepest ascent from `direction` (Sign-OPT eq. 5; Opt-Attack eq. 6).

        L2: as long as the direction; Linf: its sign, because there every coordinate up to 1 is free.
        """
        total = torch.zeros_like(direction)
        distance = search.distance[rows].to(direction.dtype)
        for _ in range(self.samples):
            noise = unit_l2(part.draws.normal(*direction.shape[1:]).to(direction))
            moved = _moved(direction, noise * wide(self.smoothing * flat(direction).norm(dim=1), noise), search.threat)
            if self.estimator == "sign":
                rises = ~search.queries.success(rows, _at(part.x, moved, distance))
                slope = rises.to(direction) * 2 - 1
            else:
                slope = self._difference(search, part, rows, moved, distance)
            total = total + noise * wide(slope, noise)
        return total.sign() if search.threat.kind == "linf" else unit_l2(total) * wide(flat(direction).norm(dim=1), total)

    def _difference(self, search: Search, part: Batch, rows: Tensor, direction: Tensor, distance: Tensor) -> Tensor:
        """(m,) g(direction) - distance as a share of the distance, cut off at the spread on either side."""
        low, high = torch.full_like(distance, -_SPREAD), torch.full_like(distance, _SPREAD)
        for _ in range(_SPREAD_HALVINGS):
            middle = (low + high) / 2
            success = search.queries.success(rows, _at(part.x, direction, distance * (1 + middle)))
            low, high = torch.where(success, low, middle), torch.where(success, middle, high)
        return (low + high) / 2


def _descend(search: Search, rows: Tensor, direction: Tensor, gradient: Tensor, size: Tensor) -> Tensor:
    """Line search against the gradient; returns the step sizes (m,) to start from next time.

    A step is tried with one label, at the distance known already, and measured by halving only when that is shorter.
    """
    best, accepted = size * 0.25, torch.zeros_like(size, dtype=torch.bool)
    failed = torch.zeros_like(accepted)
    for factor in _STEP_FACTORS:
        # larger steps go on while they help; smaller ones are for those that no larger step helped
        trying = (~failed if factor >= 1 else ~accepted) & (search.queries.left[rows] > 0)
        some = trying.nonzero().squeeze(1)
        if not len(some):
            continue
        step = size[some] * factor
        moved = _moved(direction[some], -gradient[some] * wide(step, gradient), search.threat)
        shorter = _shorten(search, rows[some], moved)
        best[some] = torch.where(shorter, step, best[some])
        accepted[some] |= shorter
        failed[some] |= ~shorter
    return best


def _shorten(search: Search, rows: Tensor, direction: Tensor) -> Tensor:
    """(m,) bool: that direction's boundary is nearer than the closest point; then it is found by halving."""
    x, distance = search.batch.x[rows], search.distance[rows].to(direction.dtype)
    points = _at(x, direction, distance)
    before = search.distance[rows]
    nearer = search.ask(rows, points)
    search.to_boundary(rows[nearer], points[nearer], steps=_REFINEMENTS)
    return search.distance[rows] < before


def _at(x: Tensor, direction: Tensor, distance: Tensor) -> Tensor:
    """The points `distance` (n,) along the direction, cut by the box."""
    return (x + direction * wide(distance, direction)).clamp(0, 1)


def _unit(direction: Tensor, threat: Threat) -> Tensor:
    """Directions of norm 1 in the threat's own norm."""
    if threat.kind == "l2":
        return unit_l2(direction)
    return direction / wide(flat(direction).abs().amax(dim=1).clamp_min(1e-12), direction)


def _moved(direction: Tensor, change: Tensor, threat: Threat) -> Tensor:
    """A direction changed and brought back to norm 1; in Linf by clipping, which leaves the other coordinates alone."""
    return unit_l2(direction + change) if threat.kind == "l2" else (direction + change).clamp(-1, 1)
