"""The Linf attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. VI-C."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.active import Closing
from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.tanh_space import TanhAdam
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@dataclass
class _Search(Closing):
    """start: where the next minimisation begins; c, tau, fineness: (m,) its constants."""

    start: Tensor
    c: Tensor
    tau: Tensor
    fineness: Tensor


@dataclass
class _Descent(Closing):
    """One minimisation. tau, c, rate: (m,) its constants."""

    optimiser: TanhAdam
    tau: Tensor
    c: Tensor
    rate: Tensor


@register(
    "cw_linf", title="Carlini-Wagner Linf", access="gradients", threats=("linf",), paper="Carlini and Wagner 2017, sec. VI-C"
)
@dataclass(frozen=True)
class CWLinf(MinimalNorm):
    """min c * [Z_y - max_i Z_i + kappa]_+ + sum_i [|delta_i| - tau]_+ for ever smaller tau, each round from the last point.

    rounds: minimisations of up to `steps` steps of Adam at `rate`. After one that ends inside tau, tau becomes `shrink`
    times the size reached; after one that does not, c (from initial_c) doubles up to largest_c. Beyond that this tau was too
    small for steps of this size. The example goes back to its closest point, and takes smaller steps to a tau that shrinks
    less, both by half and `refinements` times.
    kappa: confidence. stop_within: an example leaves as soon as a point within epsilon is known.
    """

    steps: int = 100
    rounds: int = 60
    rate: float = 0.005
    initial_c: float = 0.1
    largest_c: float = 20.0
    shrink: float = 0.9
    refinements: int = 3
    kappa: float = 0.0
    stop_within: bool = False

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, rounds=self.rounds)
        at_least(0, kappa=self.kappa, refinements=self.refinements)
        positive(rate=self.rate, initial_c=self.initial_c, largest_c=self.largest_c, shrink=self.shrink)

    def search(self, model: Model, batch: Batch, threat: Threat) -> Tensor:
        c = torch.full((len(batch),), self.initial_c, device=batch.x.device)
        one = torch.ones_like(c)
        now = _Search(batch, Closest.none(batch, threat), batch.x, c, tau=one, fineness=one)
        if len(now):
            now.drop(batch.success(glance(model, batch, threat, batch.x)))
        for _ in range(self.rounds):
            if not len(now):
                break
            found = self._round(model, threat, now)
            inside = found.distance <= now.tau
            now.known = now.known.updated(found.points, found.distance, torch.isfinite(found.distance))
            c = torch.where(inside, now.c, 2 * now.c)
            spent = c > self.largest_c
            now.fineness = torch.where(spent, now.fineness / 2, now.fineness)
            now.c = torch.where(spent, self.initial_c, c)
            now.start = choose(spent, now.known.points, found.points)
            smaller = (1 - (1 - self.shrink) * now.fineness) * torch.minimum(now.tau, now.known.distance)
            again = (1 - (1 - self.shrink) * now.fineness) * now.known.distance
            now.tau = torch.where(spent, again, torch.where(inside, smaller, now.tau))
            going = (now.fineness >= 0.5**self.refinements) & ~(spent & torch.isinf(now.known.distance))
            if self.stop_within:
                going &= ~within(threat, now.batch, now.known.points)
            now.drop(~going)
        return now.closest.points

    def _round(self, model: Model, threat: Threat, search: _Search) -> Closest:
        """One minimisation from `search.start`: the closest adversarial points, or the last points at distance inf.

        An example leaves as soon as it is adversarial inside tau: its objective is then zero.
        """
        none = Closest(search.start.clone(), torch.full_like(search.tau, torch.inf))
        rate = self.rate * search.fineness
        now = _Descent(search.batch, none, TanhAdam.at(search.start), search.tau, search.c, rate)
        for step in range(self.steps):
            z = now.optimiser.x
            delta = z - now.batch.x
            seen = look(model, now.batch, threat, z, margin, stop=False)
            size = delta.flatten(1).abs().amax(dim=1)
            now.known = now.known.updated(z, size, seen.success & (seen.values >= self.kappa))
            missing = (seen.values < self.kappa) | ~seen.success
            excess = delta.sign() * (delta.abs() > wide(now.tau, delta))
            slope = excess - wide(now.c * missing, z) * seen.gradient
            now.optimiser = now.optimiser.stepped(slope, rate=wide(now.rate, z), step=step + 1)
            now.drop(now.known.distance <= now.tau)
            if not len(now):
                break
        points = choose(torch.isinf(now.known.distance), now.optimiser.x, now.known.points)
        now.known = Closest(points, now.known.distance)
        return now.closest
