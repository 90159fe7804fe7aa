"""The automatic adaptive attack: every way of differentiating a defense, its randomness averaged, and ways without gradients.

What it finds counts on the unmodified model only; the union over all ways is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from evaluator.adaptive.eot import EOT
from evaluator.adaptive.eot_samples import choose_samples
from evaluator.adaptive.fixed_seeds import fixed_seeds
from evaluator.adaptive.joint import Joint
from evaluator.adaptive.relentless import Relentless
from evaluator.adaptive.rescaled import rescaled, vanishing
from evaluator.attacks.apgd import APGD
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.square import Square
from evaluator.attacks.substitute import Substitute
from evaluator.models.access import scores
from evaluator.models.evidence import Evidence
from evaluator.models.meter import BudgetExhausted, Meter, MeteredModel
from evaluator.threats.base import Threat
from evaluator.threats.physical import Physical

_PILOT = 8  # examples on which the number of EOT samples is chosen
_FEWEST = 4  # EOT samples: a clear gradient needs one, a loss that rises on average needs some
_LAST_ROUND = 64  # EOT samples for the few that stand after everything else
_SHARE = 1 / 3  # of what is left of the budget: so much one way may spend, so that none starves those after it


@runtime_checkable
class Rewirable(Protocol):
    """A model that can be differentiated in more than one way; see `evaluator.host.backward`."""

    def with_backward(self, name: str) -> Model:
        """The same answers with another backward pass."""


@dataclass(frozen=True)
class Found:
    """points: (n, ...) one per example, the best known where nothing broke it; broken: (n,) bool, on the unmodified model, by
    votes with room to spare; barely: (n,) bool, the others that the votes break without it; by: what broke each ("" = none).
    """

    points: Tensor
    broken: Tensor
    barely: Tensor
    by: tuple[str, ...]


@dataclass(frozen=True)
class Automatic:
    """Tries the ways one after the other; an example leaves at its first success on the unmodified model.

    declared: the submission names stand-ins of its own. random: answers are random, so gradients are averaged over as many
    passes as their noise asks for: at most most_samples (more, up to 64, for those that stand after that), on fresh draws and
    on fixed seeds. Success is scored by the batch's votes on fresh randomness. The few that stand at the end are sought
    once more by the mean of 64 answers' probabilities. A detector is fooled together with the classifier. steps: of every
    gradient attack (the last try through each backward pass takes three times as many); queries: of Square and of the last
    resort, which sees decisions alone. budget: the most that all of it may cost (`evaluator.records.cost`), None for unlimited.
    A way that is cut short keeps what it saw break.
    """

    declared: bool = False
    random: bool = False
    most_samples: int = 16
    steps: int = 50
    queries: int = 2000
    budget: int | None = None

    def run(self, model: MeteredModel, batch: Batch, threat: Threat) -> Found:
        """batch: the examples that still stand. model: as it is asked in the official search, unmodified."""
        points, by, votes = threat.start(batch.x), [""] * len(batch), batch.reading.scored
        active = torch.arange(len(batch), device=batch.x.device)
        chance = torch.ones(len(batch), dtype=torch.float64, device=batch.x.device)
        begun = model.meter.cost
        for name, asked, attack in self._ways(model, batch, threat):
            left = None if self.budget is None else self.budget - (model.meter.cost - begun)
            if not len(active) or (left is not None and left <= 0):
                break
            if batch.target is not None and not attack.can_target:
                continue
            part = batch[active].fork(name)
            found = self._found(attack, asked, part, threat, model.meter, left)
            p_values = self._p_values(model, part, threat, found)
            better = p_values < chance[active]
            for position in active[better].tolist():
                by[position] = name
            points[active[better]], chance[active[better]] = found[better], p_values[better]
            active = active[chance[active] >= votes.strict.level]
        broken, fell = chance < votes.strict.level, chance < votes.level
        return Found(points, broken, fell & ~broken, tuple(name if lost else "" for name, lost in zip(by, fell, strict=True)))

    def _found(self, attack: Attack, asked: Model, batch: Batch, threat: Threat, meter: Meter, left: int | None) -> Tensor:
        """What one way finds with its share of what is left, None for everything it wants."""
        if left is None:
            return attack.run(asked, batch, threat)
        seen = Evidence(batch.x, threat)
        try:
            with meter.at_most(int(left * _SHARE)):
                return attack.run(asked, batch.noting(seen), threat)
        except BudgetExhausted:
            return seen.points

    def _ways(self, model: MeteredModel, batch: Batch, threat: Threat) -> Iterator[tuple[str, Model, Attack]]:
        """(name, what the attack asks, the attack), the likeliest first; made only when its turn comes."""
        names = ["declared"] * self.declared + ["straight-through", "learned", "own"]
        able = {name: seen for name in names if (seen := rewired(model, name)) is not None}
        climb = Relentless if self.random else APGD
        for backward, seen in able.items():
            if batch.reading.refuses:
                name = {"own": "declared detector", "declared": "declared detector and stand-ins"}.get(backward, backward)
                yield f"{name}, joint loss", seen, Joint(steps=self.steps)
                yield f"{name}, orthogonal gradients", seen, Joint(steps=3 * self.steps, by="orthogonal")
            samples = self._samples(seen, batch[:_PILOT])
            asked = EOT(seen, min(samples, self.most_samples)) if self.random else seen
            yield f"{backward} backward, margin", asked, climb(steps=self.steps, loss="margin")
            yield f"{backward} backward, cross-entropy", asked, climb(steps=self.steps, loss="ce")
            yield f"{backward} backward, more steps", asked, climb(steps=3 * self.steps, loss="margin")
            if samples > self.most_samples:
                yield f"{backward} backward, {samples} passes", EOT(seen, samples), Relentless(steps=self.steps)
        if self.random:
            fixed = fixed_seeds(model, max(_FEWEST, self.most_samples))
            if fixed is not None:
                yield "own backward, fixed seeds", fixed, Relentless(steps=self.steps)
            for backward in dict.fromkeys((next(iter(able)), "own")):
                asked = EOT(able[backward], _LAST_ROUND, average="probabilities")
                yield f"{backward} backward, soft votes", asked, Relentless(steps=3 * self.steps)
        elif bool(vanishing(model, batch).any()):
            yield "rescaled logits, cross-entropy", rescaled(model), APGD(steps=self.steps)
            double = rewired(model, "float64")
            if double is not None:
                yield "float64 backward, margin", double, APGD(steps=self.steps, loss="margin")
                yield "float64 backward, rescaled cross-entropy", rescaled(double), APGD(steps=self.steps)
        without = rewired(model, "removed")
        if without is not None:
            samples = self._samples(without, batch[:_PILOT])
            asked = EOT(without, min(samples, self.most_samples)) if self.random else without
            yield "parts removed, margin", asked, Relentless(steps=self.steps)
        if Substitute.can_do(threat) and not self.random:
            yield "transfer from a substitute", model, Substitute(rounds=5, epochs=15, attempts=4)
        if Square.can_do(threat) and not self.random:
            yield "random search", model, Square(queries=self.queries, restarts=2)
        if HopSkipJump.can_do(threat) and not self.random:
            yield "decisions alone", batch.reading.decisions(model), HopSkipJump(queries=self.queries)

    def _samples(self, model: MeteredModel, pilot: Batch) -> int:
        """How many passes the noise of the gradient asks for: 1 where answers are not random, else 4 to 64."""
        return max(_FEWEST, choose_samples(model, pilot).samples) if self.random else 1

    def _p_values(self, model: MeteredModel, batch: Batch, threat: Threat, points: Tensor) -> Tensor:
        """(n,) float64 on the unmodified model, small where it loses: by votes where answers are random, else 0 or 1."""
        rendered = threat.apply(batch.x, points)
        if self.random:
            votes = batch.reading.scored
            p_values = votes.p_values(votes.counts(model, rendered, model.classes), batch.wanted)
        elif isinstance(threat, Physical):
            fell = threat.succeeds(model, batch.x, points, batch.success, batch.draws.fork("views"))
            p_values = (~fell).double()
        else:
            p_values = (~batch.success(scores(model, rendered))).double()
        return torch.where(threat.contains(batch.x, points), p_values, 1.0)


def rewired(model: MeteredModel, backward: str) -> MeteredModel | None:
    """`model` with another backward pass; None where it has only its own."""
    if backward == "own":
        return model
    able: list[bool] = []

    def change(inner: Model) -> Model:
        able.append(isinstance(inner, Rewirable))
        return inner.with_backward(backward) if isinstance(inner, Rewirable) else inner

    changed = model.through(change)
    return changed if able == [True] else None
