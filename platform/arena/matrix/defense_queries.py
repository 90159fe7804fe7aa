"""Reads of one defense's row of the matrix: what played it, and what is known of it at smaller budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arena.evaluations.models import Evaluation
from arena.matrix.adversarial import unpack_envelope
from arena.matrix.models import Cell, Survival
from arena.rankings.attacks import all_unique_breaks
from arena.rankings.bits import Bits, unpack

BUDGETS = 25  # places of the curve, 0 and epsilon included


@dataclass(frozen=True)
class Played:
    """One attack against the defense. left: share still right under it alone; alone: examples that no other attack broke."""

    cell: Cell
    left: float
    alone: int


def played_against(evaluation: Evaluation) -> list[Played]:
    """The completed cells of a defense, replays too, the strongest attack first."""
    found = Cell.objects.filter(
        defense=evaluation.submission_id, rules_digest=evaluation.rules_digest, state=Cell.State.COMPLETED
    )
    cells = list(
        found.defer("distances", "report").select_related("attack__team", "fall", "archive").order_by("left", "created", "pk")
    )
    itself = [cell for cell in cells if cell.kind == Cell.Kind.PLAY]
    unique = all_unique_breaks([[bytes(cell.breaks or b"")] for cell in itself])
    alone = dict(zip((cell.pk for cell in itself), unique, strict=True))
    return [Played(cell, (cell.left or 0) / cell.examples, alone.get(cell.pk, 0)) for cell in cells]


@dataclass(frozen=True)
class StandingBits:
    """(n,) bool each: right without attack; withstood everything that anybody found so far."""

    correct: Bits
    robust: Bits


def standing_bits(evaluation: Evaluation) -> StandingBits | None:
    """The bits behind a verdict as they are by now; None before it is known."""
    survival = Survival.objects.filter(evaluation=evaluation).first()
    if survival is not None:
        return StandingBits(*(unpack(bytes(bits), evaluation.examples) for bits in (survival.correct, survival.robust)))
    if evaluation.report is None:
        return None
    return StandingBits(*(np.array(evaluation.report[name], dtype=bool) for name in ("correct_bits", "robust_bits")))


def upper_bound(evaluation: Evaluation) -> list[tuple[float, float]]:
    """(budget, robust accuracy at most) pairs from 0 to the challenge's epsilon; empty where there is nothing to draw.

    Below epsilon an example counts as broken from the smallest verified distance of any submitted attack on. What only the
    ensemble broke, whose distances are not kept, counts as broken at epsilon.
    """
    epsilon = getattr(evaluation.judged_pack.challenge.threat, "epsilon", None)
    survival = Survival.objects.filter(evaluation=evaluation).exclude(envelope=None).first()
    if survival is None or not epsilon:
        return []
    bits = StandingBits(*(unpack(bytes(packed), evaluation.examples) for packed in (survival.correct, survival.robust)))
    distances = unpack_envelope(survival.envelope, evaluation.examples)
    if not np.isfinite(distances).any():
        return []
    below = [float(budget) for budget in np.linspace(0, epsilon, BUDGETS)[:-1]]
    points = [(budget, float(np.mean(bits.correct & (distances > budget)))) for budget in below]
    return [*points, (float(epsilon), float(np.mean(bits.robust)))]
