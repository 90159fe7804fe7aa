"""The automatic adaptive attack: every way of differentiating a defense, its randomness averaged, and ways without gradients.

What it finds counts on the unmodified model only; the union over all ways is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from evaluator.access import LabelOracle, scores
from evaluator.adaptive.eot import EOT
from evaluator.adaptive.eot_samples import choose_samples
from evaluator.adaptive.relentless import Relentless
from evaluator.adaptive.votes import SINGLE, Votes
from evaluator.attacks.apgd import APGD
from evaluator.attacks.base import Attack, Batch, Model
from evaluator.attacks.hopskipjump import HopSkipJump
from evaluator.attacks.square import Square
from evaluator.attacks.substitute import Substitute
from evaluator.meter import MeteredModel
from evaluator.threats.base import Threat

_PILOT = 8  # examples on which the number of EOT samples is chosen
_FEWEST = 4  # EOT samples: a clear gradient needs one, a loss that rises on average needs some


@runtime_checkable
class Rewirable(Protocol):
    """A model that can be differentiated in more than one way; see `evaluator.host.backward`."""

    def with_backward(self, name: str) -> Model:
        """The same answers with another backward pass."""


@dataclass(frozen=True)
class Found:
    """points: (n, ...) one per example; broken: (n,) bool, on the unmodified model; by: what broke each ("" = none)."""

    points: Tensor
    broken: Tensor
    by: tuple[str, ...]


@dataclass(frozen=True)
class Automatic:
    """Tries the ways one after the other; an example leaves at its first success on the unmodified model.

    declared: the submission names stand-ins of its own. random: answers are random, so gradients are averaged over as many
    passes as their noise asks for and success is scored by `votes` on fresh randomness. most_samples: at most so many.
    steps: of every gradient attack (the last try through each backward pass takes three times as many); queries: of Square and
    of the last resort, which sees decisions alone.
    """

    declared: bool = False
    random: bool = False
    votes: Votes = SINGLE
    most_samples: int = 16
    steps: int = 50
    queries: int = 2000

    def run(self, model: MeteredModel, batch: Batch, threat: Threat) -> Found:
        """batch: the examples that still stand. model: as it is asked in the official search, unmodified."""
        points, by = threat.start(batch.x), [""] * len(batch)
        active = torch.arange(len(batch), device=batch.x.device)
        for name, asked, attack in self._ways(model, batch, threat):
            if not len(active):
                break
            part = batch[active].fork(name)
            found = attack.run(asked, part, threat)
            fell = self._falls(model, part, threat, found)
            points[active[fell]] = found[fell]
            for position in active[fell].tolist():
                by[position] = name
            active = active[~fell]
        broken = torch.ones(len(batch), dtype=torch.bool, device=batch.x.device)
        broken[active] = False
        return Found(points, broken, tuple(by))

    def _ways(self, model: MeteredModel, batch: Batch, threat: Threat) -> Iterator[tuple[str, Model, Attack]]:
        """(name, what the attack asks, the attack), the likeliest first; made only when its turn comes."""
        for backward in ("declared", "straight-through", "learned", "own"):
            if backward == "declared" and not self.declared:
                continue
            seen = rewired(model, backward)
            if seen is None:
                continue
            asked = self._averaged(seen, batch[:_PILOT])
            climb = Relentless if self.random else APGD
            yield f"{backward} backward, margin", asked, climb(steps=self.steps, loss="margin")
            yield f"{backward} backward, cross-entropy", asked, climb(steps=self.steps, loss="ce")
            yield f"{backward} backward, more steps", asked, climb(steps=3 * self.steps, loss="margin")
        if threat.kind in Substitute.supported_threats and not self.random:
            yield "transfer from a substitute", model, Substitute(rounds=5, epochs=15, attempts=4)
        if threat.kind in Square.supported_threats and not self.random:
            yield "random search", model, Square(queries=self.queries, restarts=2)
        if threat.kind in HopSkipJump.supported_threats and not self.random:
            yield "decisions alone", LabelOracle(model), HopSkipJump(queries=self.queries)

    def _averaged(self, model: MeteredModel, pilot: Batch) -> Model:
        if not self.random:
            return model
        samples = max(_FEWEST, choose_samples(model, pilot).samples)
        return EOT(model, min(samples, self.most_samples))

    def _falls(self, model: MeteredModel, batch: Batch, threat: Threat, points: Tensor) -> Tensor:
        """(n,) bool on the unmodified model: contained, and misclassified (by votes where answers are random)."""
        inside = threat.contains(batch.x, points)
        rendered = threat.apply(batch.x, points)
        if self.random:
            return inside & self.votes.strict.broken(self.votes.counts(model, rendered, model.classes), batch.y)
        return inside & batch.success(scores(model, rendered))


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
