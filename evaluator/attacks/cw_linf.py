"""The Linf attack of Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", sec. VI-C."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluator.attacks.base import Batch, Model
from evaluator.attacks.gradients import glance, look
from evaluator.attacks.losses import margin
from evaluator.attacks.minimal_norm import Closest, MinimalNorm, within
from evaluator.attacks.registry import register
from evaluator.attacks.rows import choose, wide
from evaluator.attacks.tanh_space import TanhAdam
from evaluator.attacks.validation import at_least, positive
from evaluator.threats.base import Threat


@register(
    "cw_linf", title="Carlini-Wagner Linf", access="gradients", threats=("linf",), paper="Carlini and Wagner 2017, sec. VI-C"
)
@dataclass(frozen=True)
class CWLinf(MinimalNorm):
    """min c * [Z_y - max_i Z_i + kappa]_+ + sum_i [|delta_i| - tau]_+ for ever smaller tau, each round from the last point.

    rounds: minimisations of up to `steps` steps of Adam at `rate`. After one that ends inside tau, tau becomes `shrink`
    times the size reached; after one that does not, c (from initial_c) doubles up to largest_c. Beyond that this tau was too
    small for steps of this size: the example goes back to its closest point, and takes smaller steps to a tau that shrinks
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
        everyone = Closest.none(batch, threat)
        if not len(batch):
            return everyone.points
        active = (~batch.success(glance(model, batch, threat, batch.x))).nonzero().squeeze(1)
        part, known, x = batch[active], everyone[active], batch.x[active]
        c = torch.full((len(active),), self.initial_c, device=batch.x.device)
        tau, fineness = torch.ones_like(c), torch.ones_like(c)
        for _ in range(self.rounds):
            if not len(active):
                break
            found = self._round(model, part, threat, x, tau, c, self.rate * fineness)
            inside = found.distance <= tau
            known = known.updated(found.points, found.distance, torch.isfinite(found.distance))
            everyone = everyone.replaced(active, known)
            c = torch.where(inside, c, 2 * c)
            spent = c > self.largest_c
            fineness = torch.where(spent, fineness / 2, fineness)
            c = torch.where(spent, self.initial_c, c)
            x = choose(spent, known.points, found.points)
            smaller = (1 - (1 - self.shrink) * fineness) * torch.minimum(tau, known.distance)
            again = (1 - (1 - self.shrink) * fineness) * known.distance
            tau = torch.where(spent, again, torch.where(inside, smaller, tau))
            going = (fineness >= 0.5**self.refinements) & ~(spent & torch.isinf(known.distance))
            if self.stop_within:
                going &= ~within(threat, part, known.points)
            keep = going.nonzero().squeeze(1)
            part, known, active, x = part[keep], known[keep], active[keep], x[keep]
            tau, c, fineness = tau[keep], c[keep], fineness[keep]
        return everyone.points

    def _round(
        self, model: Model, batch: Batch, threat: Threat, start: Tensor, tau: Tensor, c: Tensor, rate: Tensor
    ) -> Closest:
        """One minimisation from `start`: the closest adversarial points, or the last points at distance inf.

        An example leaves as soon as it is adversarial inside tau: its objective is then zero.
        """
        everyone = Closest(start.clone(), torch.full_like(tau, torch.inf))
        active, known, state = torch.arange(len(batch), device=tau.device), everyone, TanhAdam.at(start)
        for step in range(self.steps):
            z = state.x
            delta = z - batch.x
            seen = look(model, batch, threat, z, margin, stop=False)
            size = delta.flatten(1).abs().amax(dim=1)
            known = known.updated(z, size, seen.success & (seen.values >= self.kappa))
            missing = (seen.values < self.kappa) | ~seen.success
            excess = delta.sign() * (delta.abs() > wide(tau, delta))
            state = state.stepped(excess - wide(c * missing, z) * seen.gradient, rate=wide(rate, z), step=step + 1)
            keep = (known.distance > tau).nonzero().squeeze(1)
            if len(keep) < len(active):
                everyone = everyone.replaced(active, known)
                batch, active, known, state = batch[keep], active[keep], known[keep], state[keep]
                tau, c, rate = tau[keep], c[keep], rate[keep]
            if not len(active):
                return everyone
        last = Closest(state.x, known.distance)
        lost = torch.isinf(known.distance)
        points = torch.where(wide(lost, last.points), last.points, known.points)
        return everyone.replaced(active, Closest(points, known.distance))
