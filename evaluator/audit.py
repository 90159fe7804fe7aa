"""Audit by replay: what the model said during the search is asked again of a fresh copy, in other passes and other company.

A model that changes with time, with the number of its answers, with the size of a batch or with what it was asked before is
searched as one network and verified as another. Whatever it goes by, it does not know which of its answers were kept, and the
fresh copy meets them without what led up to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from evaluator.checks.base import different
from evaluator.meter import MeteredModel
from evaluator.report import Flag
from evaluator.reservoir import Exchange, Model, View
from evaluator.threats.base import flat

CHECK = "replay"
KEPT = 64  # rows of each kind that a reservoir keeps
LARGEST = 24  # rows of one pass of the audit; a third of them come alone
TOLERANCE = 1e-4  # of a row's largest logit, or a few times what the copy's own answers vary by between two passes
SLOPE = 0.05  # the same for gradients, in L2; kinks make them jump
FEW = 2  # gradients that may jump
REPEATS = 16  # fresh answers of a random model to each row
CHANCE = 1e-6  # how improbable a random model's answers must be

Ask = Callable[[Model], MeteredModel]


@dataclass(frozen=True)
class Auditor:
    """Asks a fresh copy. model: the copy; meter: wraps a view of it; random: its answers are random. seed: of all passes."""

    model: Model
    meter: Ask
    seed: int
    random: bool = False

    def flags(self, exchanges: Sequence[Exchange]) -> list[Flag]:
        """One flag where answers or gradients are not those of the fresh copy."""
        dice = np.random.default_rng((self.seed + 7) % 2**63)
        by_view: dict[View, list[Exchange]] = {}
        for exchange in exchanges:
            by_view.setdefault(exchange.view, []).append(exchange)
        logits, slopes, of, gradients = 0, 0, 0, 0
        if self.random:
            return self._by_chance([self._sides(self.meter(view(self.model)), part) for view, part in by_view.items()])
        for view, part in by_view.items():
            asked = self.meter(view(self.model))
            told, answered, turned, differentiated = self._compared(asked, part, dice)
            logits, of, slopes, gradients = logits + told, of + answered, slopes + turned, gradients + differentiated
        found = []
        if logits:
            found.append(f"{logits} of {of} answers of the search")
        if slopes > max(FEW, 0.05 * gradients):
            found.append(f"{slopes} of {gradients} gradients of the search")
        if not found:
            return []
        evidence = f"{' and '.join(found)} were given differently by a fresh copy, asked in other passes."
        return [Flag(check=CHECK, severity="unverified", evidence=evidence)]

    def _compared(self, asked: MeteredModel, part: list[Exchange], dice: np.random.Generator) -> tuple[int, int, int, int]:
        """(answers that differ, answers, gradients that differ, gradients) under one view."""
        x, said = torch.stack([e.x for e in part]), torch.stack([e.logits for e in part])
        one, other = answers(asked, x, dice), answers(asked, x, dice)
        noise = min(0.02, 3 * float(_deviation(one, other).amax()))
        moved = different(said, one, max(TOLERANCE, noise)) & different(said, other, max(TOLERANCE, noise))
        sloped = [e for e in part if e.gradient is not None]
        turned = 0
        if sloped:
            was = flat(torch.stack([e.gradient for e in sloped if e.gradient is not None]))
            first, second = (flat(_slopes(asked, sloped, dice)) for _ in range(2))
            noise = min(0.5, 3 * float(_gap(first, second).amax()))
            turned = int(((_gap(was, first) > max(SLOPE, noise)) & (_gap(was, second) > max(SLOPE, noise))).sum())
        return int(moved.sum()), len(part), turned, len(sloped)

    def _sides(self, asked: MeteredModel, part: list[Exchange]) -> tuple[int, int]:
        """How many kept answers have a larger, and how many a smaller margin than most fresh ones, of a random model."""
        x, said = torch.stack([e.x for e in part]), torch.stack([e.logits for e in part])
        with torch.no_grad():
            fresh = torch.stack([asked(x) for _ in range(REPEATS)])
        leader = fresh.argmax(dim=2).mode(dim=0).values
        mine, theirs = _lead(said, leader), torch.stack([_lead(answer, leader) for answer in fresh])
        above, below = (theirs < mine).sum(dim=0), (theirs > mine).sum(dim=0)
        return int((above > below).sum()), int((below > above).sum())

    def _by_chance(self, sides: list[tuple[int, int]]) -> list[Flag]:
        """A fair coin decides the side of each answer of a model whose randomness does not know what it is asked for."""
        above, below = sum(side[0] for side in sides), sum(side[1] for side in sides)
        if not above + below or binomtest(above, above + below).pvalue >= CHANCE:
            return []
        evidence = f"{above} of {above + below} random answers of the search had a larger margin than most of a fresh copy's."
        return [Flag(check=CHECK, severity="unverified", evidence=evidence)]


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
            found.append(torch.autograd.grad(asked(leaf), leaf, cotangents[rows])[0])
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
    """(n,) largest difference of two rows of logits, of the larger one's scale."""
    scale = torch.maximum(one.abs().amax(dim=1), other.abs().amax(dim=1)).clamp_min(1e-12)
    return (one - other).abs().amax(dim=1) / scale


def _gap(one: Tensor, other: Tensor) -> Tensor:
    """(n,) L2 distance of two gradients over the longer one's norm, 0 for two zeros."""
    scale = torch.maximum(one.norm(dim=1), other.norm(dim=1))
    return torch.where(scale > 0, (one - other).norm(dim=1) / scale.clamp_min(1e-30), 0.0)


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) by how much each row's class leads the best other one."""
    return logits.gather(1, classes[:, None]).squeeze(1) - logits.scatter(1, classes[:, None], -torch.inf).amax(dim=1)
