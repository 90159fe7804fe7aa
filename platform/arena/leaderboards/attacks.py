"""The board of attacks, in a constant number of queries however many defenses and attacks there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from arena.challenges.models import Challenge
from arena.leaderboards.copies import Copies, Repeated, copies_of
from arena.leaderboards.matrix import Column, columns
from arena.leaderboards.queries import board
from arena.matrix.adversarial import unpack_distances
from arena.matrix.models import Cell, Fall, Survival
from arena.matrix.queries import played
from arena.rankings.attacks import (
    CrossPlay,
    accuracy_left,
    all_unique_breaks,
    cross_play,
    dense_ranks,
    filled,
    success_per_pass,
)
from arena.rankings.bits import count, packed_survivors, unpack
from arena.rankings.copies import hold_ranks
from arena.rankings.optimality import Distances, local_optimality
from arena.submissions.kinship import kinship
from arena.submissions.models import Submission
from evaluator.records.cost import cost


@dataclass(frozen=True)
class AttackRow:
    """One attack on the attacks' board. rank: None without a number and for a copy; optimality: mean over its targets.

    All figures are of what it found itself, on defenses of other parties (`arena.submissions.kinship`); own: how many standing
    defenses are left out for this. best: the lowest accuracy it leaves any defense. unique: (defense, example) pairs that
    nobody else broke. caused: falls. repeats: the earlier entry whose results it has, None where it repeats none.

    On a minimal-norm board accuracies are areas under accuracy against epsilon, as shares of epsilon. median_distance: of all
    images that could be broken, None where less than half of them were, and on other boards.
    """

    rank: int | None
    attack: Column
    play: CrossPlay
    best: float | None
    optimality: float | None
    unique: int
    success: float | None
    rows: int | None
    caused: int
    examples_felled: int
    own: int
    repeats: Repeated | None
    median_distance: float | None = None


_PLAYED = (
    "attack_id", "defense__public_id", "examples", "left", "breaks", "copied", "gain", "forward_rows", "backward_rows",
)  # fmt: skip


class _Played(NamedTuple):
    """A completed cell's columns: ten thousand of them are read at once, which takes model instances a tenth of a second."""

    examples: int
    left: int | None
    breaks: bytes | None
    copied: bytes | None
    gain: float | None
    forward_rows: int | None
    backward_rows: int | None

    @property
    def found(self) -> bytes:
        """What the attack broke and no other team's earlier entry had."""
        return packed_survivors(bytes(self.breaks or b""), [] if self.copied is None else [bytes(self.copied)])

    def area_left(self, clean: float) -> float | None:
        """Under accuracy against epsilon, as a share of epsilon; breaks at epsilon take nothing. clean: without attack."""
        return None if self.gain is None else clean - self.gain / self.examples

    @property
    def share_left(self) -> float | None:
        """Of the examples, without what it broke with others' results."""
        if self.left is None:
            return None
        return accuracy_left(self.left + count(bytes(self.breaks or b"")) - count(self.found), self.examples)


@dataclass(frozen=True)
class _Table:
    """What the rows are made of.

    clean: standing defense -> accuracy without attack; best: -> area of the envelope; cells, falls: attack -> what counts;
    own: attack -> defenses of its own party; by_area: whether the board ranks by area; medians: attack -> distance, if so.
    """

    clean: dict[str, float]
    best: dict[str, float | None]
    cells: dict[int, dict[str, _Played]]
    own: dict[int, frozenset[str]]
    medians: dict[int, float]
    by_area: bool
    falls: dict[int, list[int]]
    copies: Copies


def attack_board(challenge: Challenge) -> list[AttackRow]:
    """The attacks of a challenge: the ranked ones, best first, and then those without a rank."""
    attacks = sorted(columns(challenge), key=lambda attack: (attack.entered, attack.pk))
    table = _table(challenge, attacks)
    rows = [_attack_row(attack, table) for attack in attacks]
    news = [[_news(attack.pk, defense, table) for defense in table.clean] for attack in attacks]
    found = zip(rows, all_unique_breaks(news), _ranks(rows, table), strict=True)
    ranked = [replace(row, unique=unique, rank=rank) for row, unique, rank in found]
    return sorted(ranked, key=lambda row: (row.rank is None, row.rank or 0, row.attack.entered))


def _table(challenge: Challenge, attacks: Sequence[Column]) -> _Table:
    standing, by_area = board(challenge), challenge.spec.goal.kind == "minimal-norm"
    clean = {row.submission_id: row.clean_accuracy or 0.0 for row in (*standing.ranked, *standing.unverified)}
    owners = dict(Submission.objects.filter(public_id__in=clean).values_list("public_id", "team_id"))
    known = kinship({*owners.values(), *(attack.team_id for attack in attacks)})
    own = {attack.pk: frozenset(each for each in clean if known.related(attack.team_id, owners[each])) for attack in attacks}
    cells: dict[int, dict[str, _Played]] = {attack.pk: {} for attack in attacks}
    for attack, defense, *figures in played(challenge).filter(state=Cell.State.COMPLETED).values_list(*_PLAYED):
        if attack in cells and defense in clean and defense not in own[attack]:
            cells[attack][defense] = _Played(*figures)
    gains = Survival.objects.filter(evaluation__submission__challenge=challenge, evaluation__current=True)
    falls: dict[int, list[int]] = {attack.pk: [] for attack in attacks}
    columns_of_falls = ("attack_id", "defense__public_id", "before", "after", "cell__breaks", "cell__copied")
    for attack, defense, before, after, breaks, copied in Fall.objects.filter(challenge=challenge).values_list(
        *columns_of_falls
    ):
        if attack in falls and defense not in own[attack]:
            news = packed_survivors(bytes(breaks or b""), [] if copied is None else [bytes(copied)])
            falls[attack].append(min(before - after, count(news)))
    results = {attack: {defense: bytes(cell.breaks or b"") for defense, cell in row.items()} for attack, row in cells.items()}
    return _Table(
        clean=clean,
        best=dict(gains.values_list("evaluation__submission__public_id", "gain")),
        cells=cells,
        own=own,
        medians=_medians(challenge, cells) if by_area else {},
        by_area=by_area,
        falls={attack: [fallen for fallen in each if fallen] for attack, each in falls.items()},
        copies=copies_of(challenge, results, {attack.pk: attack.team_id for attack in attacks}),
    )


def _news(attack: int, defense: str, table: _Table) -> bytes | None:
    """What an attack broke that no earlier entry had, whosever it is; None for a cell that does not count."""
    cell = table.cells[attack].get(defense)
    if cell is None or cell.breaks is None:
        return None
    known = table.copies.bits.get((attack, defense))
    return cell.found if known is None else packed_survivors(cell.found, [known])


def _ranks(rows: Sequence[AttackRow], table: _Table) -> list[int | None]:
    """Each attack's rank among those that hold one. rows: in order of entry."""
    clean, copies, place = list(table.clean.values()), table.copies, {row.attack.pk: at for at, row in enumerate(rows)}
    left = [_shares(row.attack.pk, table) for row in rows]
    own = [[defense in table.own[row.attack.pk] for defense in table.clean] for row in rows]
    level = [cross_play(clean, values) for values in filled(clean, left, own)]
    nothing: tuple[float | None, ...] = (None, None)
    keys = [nothing if row.play.mean is None else (play.mean, play.worst) for row, play in zip(rows, level, strict=True)]
    family = [[place[other] for other in copies.family[row.attack.pk]] for row in rows]
    holds = hold_ranks(keys, [copies.foreign[row.attack.pk] for row in rows], family)
    ranks = dense_ranks([key if held else nothing for key, held in zip(keys, holds, strict=True)])
    return [rank if held and key != nothing else None for rank, held, key in zip(ranks, holds, keys, strict=True)]


def _shares(attack: int, table: _Table) -> list[float | None]:
    cells = table.cells[attack]
    if table.by_area:
        return [cells[defense].area_left(clean) if defense in cells else None for defense, clean in table.clean.items()]
    return [cells[defense].share_left if defense in cells else None for defense in table.clean]


def _medians(challenge: Challenge, cells: Mapping[int, Mapping[str, _Played]]) -> dict[int, float]:
    """The median distance of each attack's breaks, over all images that it could break, where it broke half of them."""
    found: dict[int, list[Distances]] = {attack: [] for attack in cells}
    fields = ("attack_id", "defense__public_id", "examples", "breaks", "left", "distances")
    kept = played(challenge).filter(state=Cell.State.COMPLETED).exclude(breaks=None).exclude(distances=None)
    for attack, defense, examples, breaks, left, distances in kept.values_list(*fields):
        if defense in cells.get(attack, {}):
            broken = unpack_distances(bytes(distances), unpack(bytes(breaks), examples))
            found[attack].append(np.concatenate([broken[np.isfinite(broken)], np.full(left or 0, np.inf)]))
    medians = {attack: float(np.median(np.concatenate(each))) for attack, each in found.items() if sum(map(len, each))}
    return {attack: median for attack, median in medians.items() if np.isfinite(median)}


def _attack_row(attack: Column, table: _Table) -> AttackRow:
    """Everything but what depends on the other attacks' rows."""
    cells, own, falls = table.cells[attack.pk], table.own[attack.pk], table.falls[attack.pk]
    left = _shares(attack.pk, table)
    targets = [(unbroken, share) for (name, unbroken), share in zip(table.clean.items(), left, strict=True) if name not in own]
    shares = [local_optimality(cell.gain, table.best.get(defense), cell.examples) for defense, cell in cells.items()]
    optimal = [share for share in shares if share is not None]
    rows = sum(cost(cell.forward_rows or 0, cell.backward_rows or 0) for cell in cells.values())
    broken, tried = sum(count(cell.found) for cell in cells.values()), sum(cell.examples for cell in cells.values())
    return AttackRow(
        rank=None,
        attack=attack,
        play=cross_play([unbroken for unbroken, _ in targets], [share for _, share in targets]),
        best=min((share for share in left if share is not None), default=None),
        optimality=sum(optimal) / len(optimal) if optimal else None,
        unique=0,
        success=success_per_pass(broken, tried, rows),
        rows=rows if cells and attack.format == "python" else None,
        caused=len(falls),
        examples_felled=sum(falls),
        own=len(own),
        repeats=table.copies.shown.get(attack.pk),
        median_distance=table.medians.get(attack.pk),
    )
