"""Audit by replay: what the model said during the search is asked again of a fresh copy, in other passes and other company.

A model that changes with time, with the number of its answers, with the size of a batch or with what it was asked before is
searched as one network and verified as another. Whatever it goes by, it does not know which of its answers were kept, and the
fresh copy meets them without what led up to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluator.models.leads import Leads
from evaluator.models.meter import MeteredModel
from evaluator.models.reservoir import Exchange, Model, View, itself
from evaluator.records.report import Flag
from evaluator.threats.base import flat

CHECK = "replay"
KEPT = 64  # rows of each kind that a reservoir keeps
LARGEST = 24  # rows of one pass of the audit; a third of them come alone
FIRST = 24  # rows that a copy is asked about before anything else
TOLERANCE, COARSEST = 1e-4, 0.02  # of a row's lead (`Leads`), and where the copy's own answers vary as its passes fall
TIES = 2  # labels that may change, and rows that may be a little off, where coarse arithmetic has ties
SLOPE, STEEPEST = 0.05, 0.5  # the same for gradients, in L2; kinks make them jump
FEW = 2  # gradients that may jump
DIFFERENCES, DIRECTIONS = 24, 4  # gradients that are compared with differences, and random sign directions of each
DISTANCES, COSINE = (0.001, 0.008), 0.5  # as in `gradient-accuracy`: the better of the two counts
LEAST_SLOPES = 8
REPEATS = 16  # fresh answers of a random model to each row
CHANCE = 1e-6  # how improbable a random model's answers must be

Ask = Callable[[Model], MeteredModel]
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Auditor:
    """Asks a fresh copy what the search was answered.

    model: the copy; meter: charges a view of it; exchanges: what was kept. random: answers are declared random. seed: of all
    passes.
    """

    model: Model
    meter: Ask
    exchanges: Sequence[Exchange]
    seed: int
    random: bool = False

    def __post_init__(self) -> None:
        self._dice = np.random.default_rng((self.seed + 7) % 2**63)

    def young(self) -> list[Flag]:
        """Asks about FIRST rows, before anything else: the copy may be another model once it has answered a while."""
        if self.random:
            return []
        order = self._dice.permutation(len(self.exchanges))[:FIRST]
        return self._flags(*self._compared([self.exchanges[i] for i in order], gradients=False))

    def grown(self) -> list[Flag]:
        """Asks about everything."""
        return self._by_chance() if self.random else self._flags(*self._compared(self.exchanges, gradients=True))

    def sloped(self) -> list[Flag]:
        """Compares gradients with differences of the copy's answers where the search went, in passes of a few rows.

        A gradient that leads away from where answers change hides what is there, however honest the answers are. Only rows that
        were asked through the model's own backward pass count: a stand-in's gradient is meant to be another.
        """
        rows = [e for e in self.exchanges if e.gradient is not None and e.cotangent is not None and e.view is itself]
        if self.random or len(rows) < LEAST_SLOPES:
            return []
        rows = [rows[i] for i in self._dice.permutation(len(rows))[:DIFFERENCES]]
        asked = self.meter(self.model)
        x, cotangents = torch.stack([e.x for e in rows]), torch.stack([e.cotangent for e in rows if e.cotangent is not None])
        gradient = _slopes(asked, rows, self._dice)
        signs = torch.from_numpy(self._dice.choice([-1.0, 1.0], (DIRECTIONS, *x.shape))).to(x)
        fits = [_fit(asked, x, cotangents, gradient, signs, h, self._dice) for h in DISTANCES]
        if max(fits) >= COSINE:
            return []
        evidence = (
            f"the cosine of {len(rows)} gradients of the search with differences of a fresh copy's answers is {max(fits):.2f}."
        )
        return [Flag(check=CHECK, severity="unverified", evidence=evidence)]

    def _flags(self, moved: int, answers: int, turned: int, gradients: int) -> list[Flag]:
        found = [f"{moved} of {answers} answers of the search"] if moved else []
        if turned > max(FEW, 0.05 * gradients):
            found.append(f"{turned} of {gradients} gradients of the search")
        evidence = f"{' and '.join(found)} were given differently by a fresh copy, asked in other passes."
        return [Flag(check=CHECK, severity="unverified", evidence=evidence)] if found else []

    def _by_view(self, exchanges: Sequence[Exchange]) -> Iterator[tuple[MeteredModel, list[Exchange]]]:
        views: dict[View, list[Exchange]] = {}
        for exchange in exchanges:
            views.setdefault(exchange.view, []).append(exchange)
        for view, part in views.items():
            yield self.meter(view(self.model)), part

    def _compared(self, exchanges: Sequence[Exchange], *, gradients: bool) -> tuple[int, int, int, int]:
        """(answers that differ, answers, gradients that differ, gradients)."""
        moved, turned, slopes = 0, 0, 0
        for asked, part in self._by_view(exchanges):
            x, said = torch.stack([e.x for e in part]), torch.stack([e.logits for e in part])
            one, other = (answers(asked, x, self._dice) for _ in range(2))
            apart = _apart(said, one, other, _deviation, TOLERANCE, COARSEST)
            changed = Leads.of(said, one).changed | Leads.of(said, other).changed
            far = _apart(said, one, other, _deviation, COARSEST, COARSEST)
            apart = apart if bool(far.any()) or int(apart.sum()) > TIES else far  # one row a little off is rounding
            moved += int((apart | changed if int(changed.sum()) > TIES else apart).sum())
            sloped = [e for e in part if e.gradient is not None] if gradients else []
            if sloped:
                was = flat(torch.stack([e.gradient for e in sloped if e.gradient is not None]))
                one, other = (flat(_slopes(asked, sloped, self._dice)) for _ in range(2))
                turned += int(_apart(was, one, other, _gap, SLOPE, STEEPEST).sum())
                slopes += len(sloped)
        return moved, len(exchanges), turned, slopes

    def _sides(self, asked: MeteredModel, part: list[Exchange]) -> tuple[float, int]:
        """The sum of mid-ranks in [0, 1] of the kept answers' margins among fresh ones, and how many there are."""
        x, said = torch.stack([e.x for e in part]), torch.stack([e.logits for e in part])
        # noise may be drawn once for a pass: then rows of one pass would all fall to the same side
        fresh = torch.stack([answers(asked, x, self._dice) for _ in range(REPEATS)])
        leader = fresh.argmax(dim=2).mode(dim=0).values
        mine, theirs = _lead(said, leader), torch.stack([_lead(answer, leader) for answer in fresh])
        above, below = (theirs < mine).sum(dim=0), (theirs > mine).sum(dim=0)
        # Ties count half, so that a share is one half on average, whatever the answers are distributed like.
        return float(((above + (REPEATS - above - below) / 2) / REPEATS).sum()), len(part)

    def _by_chance(self) -> list[Flag]:
        """Mid-ranks are one half on average where a model's randomness does not know what it is asked for.

        Rows that were differentiated are counted apart from those that were not: a model can see the difference.
        """
        for differentiated in (True, False):
            part = [e for e in self.exchanges if (e.gradient is not None) == differentiated]
            sides = [self._sides(asked, rows) for asked, rows in self._by_view(part)]
            above, count = sum(side[0] for side in sides), sum(side[1] for side in sides)
            # Hoeffding's inequality for the mean of shares in [0, 1].
            if count and 2 * np.exp(-2 * count * (above / count - 0.5) ** 2) < CHANCE:
                what = f"{count} random answers of the search had a larger margin than {above / count:.0%} of a fresh copy's."
                return [Flag(check=CHECK, severity="unverified", evidence=what)]
        return []


def _apart(said: Tensor, one: Tensor, other: Tensor, distance: Distance, least: float, most: float) -> Tensor:
    """(n,) bool: rows where a fresh answer is farther from what was said than `least`.

    Where two fresh answers to a row are farther from each other (coarse arithmetic rounds as its batch falls), three times
    their distance is allowed, up to `most`.
    """
    tolerance = max(least, min(most, 3 * float(distance(one, other).amax())))
    return (distance(said, one) > tolerance) | (distance(said, other) > tolerance)


def unlike(exchanges: Sequence[Exchange], images: Tensor) -> list[Exchange]:
    """The exchanges that are not about one of the clean `images` (n, *shape): the copy is to know nothing of them yet."""
    known = {image.numpy().tobytes() for image in images.cpu()}
    return [exchange for exchange in exchanges if exchange.x.cpu().numpy().tobytes() not in known]


def answers(asked: MeteredModel, x: Tensor, dice: np.random.Generator) -> Tensor:
    """(n, K) logits of x, asked in passes of secret sizes and order."""
    parts, back = _passes(len(x), dice)
    with torch.no_grad():
        return torch.cat([asked(x[part]) for part in parts])[back]


def _slopes(asked: MeteredModel, part: list[Exchange], dice: np.random.Generator) -> Tensor:
    """(n, *shape) vector-Jacobian products of the kept cotangents."""
    x = torch.stack([e.x for e in part])
    cotangents = torch.stack([e.cotangent for e in part if e.cotangent is not None])
    parts, back = _passes(len(x), dice)
    found = []
    for rows in parts:
        leaf = x[rows].requires_grad_(True)
        with torch.enable_grad():
            found.append(torch.autograd.grad((asked(leaf) * cotangents[rows]).sum(), leaf)[0])
    return torch.cat(found)[back]


def _passes(count: int, dice: np.random.Generator) -> tuple[list[Tensor], Tensor]:
    """(rows of each pass, where each row came): a secret order, cut into secret sizes from 1 to LARGEST."""
    order, parts = torch.from_numpy(dice.permutation(count)), []
    first = 0
    while first < count:
        size = 1 if dice.random() < 1 / 3 else int(dice.integers(2, LARGEST + 1))
        parts.append(order[first : first + size])
        first += size
    return parts, order.argsort()


def _deviation(one: Tensor, other: Tensor) -> Tensor:
    """(n,) by how much the leads of two answers differ, over the lead."""
    return Leads.of(one, other).deviation()


def _fit(
    asked: MeteredModel, x: Tensor, cotangents: Tensor, gradient: Tensor, signs: Tensor, h: float, dice: np.random.Generator
) -> float:
    """The median cosine over rows of what gradients foretell with what answers do, along `signs` (directions, n, *shape)."""
    foretold, seen = [], []
    for sign in signs:
        ahead, back = ((x + step * sign).clamp(0, 1) for step in (h, -h))
        told = answers(asked, torch.cat([ahead, back]), dice).double()
        seen.append(((told[: len(x)] - told[len(x) :]) * cotangents).sum(dim=1))
        foretold.append((gradient.double() * (ahead - back)).flatten(1).sum(dim=1))
    along, across = torch.stack(foretold, dim=1), torch.stack(seen, dim=1)
    vanished = along.abs().amax(dim=1) == 0  # which `zero-gradients` is about
    cosines = torch.nn.functional.cosine_similarity(along, across, dim=1, eps=1e-300)
    return float(torch.where(vanished, 1.0, cosines).median())


def _gap(one: Tensor, other: Tensor) -> Tensor:
    """(n,) L2 distance of two gradients over the longer one's norm, 0 for two zeros."""
    scale = torch.maximum(one.norm(dim=1), other.norm(dim=1))
    return torch.where(scale > 0, (one - other).norm(dim=1) / scale.clamp_min(1e-30), 0.0)


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) by how much each row's class leads the best other one."""
    return logits.gather(1, classes[:, None]).squeeze(1) - logits.scatter(1, classes[:, None], -torch.inf).amax(dim=1)
