"""Reads of one defense's row of the matrix: what played it, and what is known of it at smaller budgets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from arena.evaluations.models import Evaluation
from arena.matrix.adversarial import unpack_envelope
from arena.matrix.models import Cell, Repeat, Survival
from arena.rankings.attacks import all_unique_breaks
from arena.rankings.bits import Bits, count, overlap_of, pack, packed_survivors, packed_union, unpack
from arena.rankings.copies import share_repeated
from arena.submissions.kinship import kinship

BUDGETS = 25  # places of the curve, 0 and epsilon included


@dataclass(frozen=True)
class Played:
    """One attack against the defense.

    left: share still right under it alone; alone: examples that no other attack broke, 0 where own. own: the attack is of the
    defense's own party, whose results count in no figure of the attack. repeats: the share of its breaks here that earlier
    entries had found.
    """

    cell: Cell
    left: float
    alone: int
    own: bool
    repeats: float


def played_against(evaluation: Evaluation) -> list[Played]:
    """The completed cells of a defense, replays too, the strongest attack first."""
    found = Cell.objects.filter(
        defense=evaluation.submission_id, rules_digest=evaluation.rules_digest, state=Cell.State.COMPLETED
    )
    cells = list(
        found.defer("distances", "report").select_related("attack__team", "fall", "archive").order_by("left", "created", "pk")
    )
    team = evaluation.submission.team_id
    known = kinship({team, *(cell.attack.team_id for cell in cells)})
    own = {cell.pk for cell in cells if cell.kind != Cell.Kind.TRANSFER and known.related(cell.attack.team_id, team)}
    repeated: dict[int, bytes] = {}
    for cell_id, bits in Repeat.objects.filter(cell__in=[cell.pk for cell in cells]).values_list("cell_id", "bits"):
        before = repeated.get(cell_id)
        repeated[cell_id] = bytes(bits) if before is None else packed_union(before, bytes(bits))
    counted = [cell for cell in cells if cell.kind == Cell.Kind.PLAY and cell.pk not in own]
    breaks = {cell.pk: bytes(cell.breaks or b"") for cell in cells}
    news = [[packed_survivors(breaks[cell.pk], [repeated[cell.pk]] if cell.pk in repeated else [])] for cell in counted]
    alone = dict(zip((cell.pk for cell in counted), all_unique_breaks(news), strict=True))
    return [
        Played(
            cell,
            (cell.left or 0) / cell.examples,
            alone.get(cell.pk, 0),
            cell.pk in own,
            share_repeated(count(repeated.get(cell.pk, b"")), count(breaks[cell.pk])),
        )
        for cell in cells
    ]


def only_its_own(played: list[Played], evaluation: Evaluation) -> int:
    """How many examples fell to attacks of the defense's own party and to nothing else: not to its search, nobody's attack."""
    if evaluation.report is None:
        return 0
    known, standing = bytes((evaluation.examples + 7) // 8), pack(evaluation.report["robust_bits"])
    own, others = (
        reduce(packed_union, (bytes(each.cell.breaks or b"") for each in played if each.own is mine), known)
        for mine in (True, False)
    )
    return count(packed_survivors(overlap_of(own, standing), [others]))


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
    report = evaluation.report
    bits = (report.get("unbroken_bits") or report["correct_bits"], report["robust_bits"])
    return StandingBits(*(np.array(each, dtype=bool) for each in bits))


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
