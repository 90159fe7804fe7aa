"""Reads of the matrix: a constant number of queries however many defenses and attacks there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from django.core.cache import cache
from django.db.models import F, QuerySet, Sum

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.leaderboards.queries import Board, Row, board
from arena.matrix.models import Cell, Fall, FirstLook, Survival
from arena.rankings.attacks import CrossPlay, all_unique_breaks, cross_play, dense_ranks, success_per_pass
from arena.rankings.bits import unpack
from arena.rankings.optimality import local_optimality
from arena.rankings.significance import against_neighbours, rank_sets
from arena.submissions.models import Submission
from evaluator.records.cost import cost

KEPT_SECONDS = 86400
WAITING = {Cell.State.QUEUED, Cell.State.RUNNING}


@dataclass(frozen=True, slots=True)
class Square:
    """One cell as the matrix shows it. left: the share of examples still right under this attack alone; None for n/a."""

    cell_id: str
    state: str
    left: float | None
    broken: int | None

    @property
    def waiting(self) -> bool:
        return self.state in WAITING


@dataclass(frozen=True)
class Column:
    """An attack of the matrix."""

    pk: int
    public_id: str
    name: str
    team_name: str
    team_slug: str
    format: str
    entered: datetime


@dataclass(frozen=True)
class Matrix:
    """rows: standing defenses, best first, the unverified last; squares: one for each of `columns`, None where none is."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    squares: tuple[tuple[Square | None, ...], ...]

    @property
    def settled(self) -> int:
        return sum(1 for row in self.squares for square in row if square is not None and not square.waiting)

    @property
    def total(self) -> int:
        return len(self.rows) * len(self.columns)


def columns(challenge: Challenge) -> tuple[Column, ...]:
    """The attacks that play, in order of acceptance."""
    looks = FirstLook.objects.filter(challenge=challenge, state=FirstLook.State.COMPLETED, submission__withdrawn=None)
    attacks = (look.submission for look in looks.select_related("submission__team").order_by("finished", "pk"))
    return tuple(
        Column(
            attack.pk,
            attack.public_id,
            attack.name,
            attack.team.name,
            attack.team.slug,
            attack.manifest["format"],
            attack.created,
        )
        for attack in attacks
    )


def played(challenge: Challenge) -> QuerySet[Cell]:
    """The cells of the matrix, replays left out: what each attack itself did."""
    return Cell.objects.filter(challenge=challenge, rules_digest=challenge.rules_digest, kind=Cell.Kind.PLAY)


def matrix(challenge: Challenge) -> Matrix:
    """The whole matrix. Rows follow the board, columns the order of acceptance."""
    standing = board(challenge)
    rows, attacks = (*standing.ranked, *standing.unverified), columns(challenge)
    place = {attack.pk: index for index, attack in enumerate(attacks)}
    fields = ("defense_id", "attack_id", "public_id", "state", "left", "broken", "examples")
    names = dict(Submission.objects.filter(public_id__in=[row.submission_id for row in rows]).values_list("pk", "public_id"))
    found: dict[str, list[Square | None]] = {row.submission_id: [None] * len(attacks) for row in rows}
    for defense, attack, cell_id, state, left, broken, examples in played(challenge).values_list(*fields):
        if defense in names and attack in place:
            share = None if left is None else left / examples
            found[names[defense]][place[attack]] = Square(cell_id, state, share, broken)
    return Matrix(rows, attacks, tuple(tuple(found[row.submission_id]) for row in rows))


@dataclass(frozen=True)
class AttackRow:
    """One attack on the attacks' board. rank: None without a number; optimality: mean over its targets.

    best: the lowest accuracy it leaves any defense. unique: (defense, example) pairs that nobody else broke. caused: falls.
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


_PLAYED = ("attack_id", "defense__public_id", "examples", "left", "broken", "breaks", "gain", "forward_rows", "backward_rows")


class _Played(NamedTuple):
    """A completed cell's columns: ten thousand of them are read at once, which takes model instances a tenth of a second."""

    examples: int
    left: int | None
    broken: int | None
    breaks: bytes | None
    gain: float | None
    forward_rows: int | None
    backward_rows: int | None


def attack_board(challenge: Challenge) -> list[AttackRow]:
    """The attacks of a challenge, best first."""
    standing = board(challenge)
    clean = {row.submission_id: row.clean_accuracy or 0.0 for row in (*standing.ranked, *standing.unverified)}
    attacks = columns(challenge)
    cells: dict[int, dict[str, _Played]] = {attack.pk: {} for attack in attacks}
    for attack, defense, *figures in played(challenge).filter(state=Cell.State.COMPLETED).values_list(*_PLAYED):
        if attack in cells and defense in clean:
            cells[attack][defense] = _Played(*figures)
    best = dict(
        Survival.objects.filter(evaluation__submission__challenge=challenge, evaluation__current=True).values_list(
            "evaluation__submission__public_id", "gain"
        )
    )
    unique = all_unique_breaks([[_breaks(cells[attack.pk].get(defense)) for defense in clean] for attack in attacks])
    falls: dict[int, list[Fall]] = {}
    for fall in Fall.objects.filter(challenge=challenge):
        falls.setdefault(fall.attack_id, []).append(fall)
    made = [
        _attack_row(attack, cells[attack.pk], clean, best, alone, falls.get(attack.pk, []))
        for attack, alone in zip(attacks, unique, strict=True)
    ]
    ranks = dense_ranks([(row.play.mean, row.play.worst) for row in made])
    ranked = [replace(row, rank=None if row.play.mean is None else rank) for row, rank in zip(made, ranks, strict=True)]
    return [row for _, row in sorted(zip(ranks, ranked, strict=True), key=lambda pair: (pair[0], pair[1].attack.entered))]


def _breaks(cell: _Played | None) -> bytes | None:
    return None if cell is None or cell.breaks is None else bytes(cell.breaks)


def _attack_row(
    attack: Column,
    cells: dict[str, _Played],
    clean: dict[str, float],
    best: dict[str, float | None],
    unique: int,
    falls: Sequence[Fall],
) -> AttackRow:
    left = [share_left(cells[defense]) if defense in cells else None for defense in clean]
    numbers = [share for share in left if share is not None]
    shares = [local_optimality(cell.gain, best.get(defense), cell.examples) for defense, cell in cells.items()]
    optimal = [share for share in shares if share is not None]
    rows = sum(cost(cell.forward_rows or 0, cell.backward_rows or 0) for cell in cells.values())
    broken, tried = sum(cell.broken or 0 for cell in cells.values()), sum(cell.examples for cell in cells.values())
    return AttackRow(
        rank=None,
        attack=attack,
        play=cross_play(list(clean.values()), left),
        best=min(numbers, default=None),
        optimality=sum(optimal) / len(optimal) if optimal else None,
        unique=unique,
        success=success_per_pass(broken, tried, rows),
        rows=rows if cells and attack.format == "python" else None,
        caused=len(falls),
        examples_felled=sum(fall.fallen for fall in falls),
    )


@dataclass(frozen=True)
class Significance:
    """rank_set: (best, worst) place that a defense may truly have. p_value: against the next one below, None at the end."""

    rank_set: tuple[int, int]
    p_value: float | None


def significance(challenge: Challenge, standing: Board | None = None) -> dict[str, Significance]:
    """Submission's public id -> how sure its rank is, for every ranked defense whose bits are known; in board order.

    standing: the board, if it was read already. Kept for as long as no ranked defense's figures change: bits are only ever
    cleared, so that equal counts of one evaluation are equal bits. Empty for a board that ranks by proof.
    """
    if challenge.spec.certified is not None:
        return {}
    ranked = (standing or board(challenge)).ranked
    state = " ".join(f"{row.evaluation_id} {row.robust_accuracy}" for row in ranked)
    key = f"significance:{hashlib.sha256(state.encode()).hexdigest()}"
    known: dict[str, Significance] | None = cache.get(key)
    if known is None:
        known = _significance(ranked)
        if len(known) == len(ranked):  # a verdict whose bits are not opened yet will have them
            cache.set(key, known, timeout=KEPT_SECONDS)
    return known


def _significance(ranked: Sequence[Row]) -> dict[str, Significance]:
    rows = Survival.objects.filter(evaluation__public_id__in=[row.evaluation_id for row in ranked])
    bits = dict(rows.values_list("evaluation__public_id", "robust"))
    known = [row for row in ranked if row.evaluation_id in bits]
    ordered = [unpack(bytes(bits[row.evaluation_id]), row.examples) for row in known]
    p_values: list[float | None] = [*against_neighbours(ordered), None]
    return {
        row.submission_id: Significance(places, p_value)
        for row, places, p_value in zip(known, rank_sets(ordered), p_values, strict=False)
    }


def falls_of(challenge: Challenge, *, last: int = 100) -> list[Fall]:
    """The newest falls, newest first; those of entries that failed are left out."""
    judged = (Evaluation.State.COMPLETED, *Evaluation.UNFINISHED)
    found = Fall.objects.filter(challenge=challenge, evaluation__state__in=judged).select_related(
        "defense__team", "attack__team", "cell", "evaluation"
    )
    return list(found.defer("evaluation__report", "evaluation__pack").order_by("-at", "-pk")[:last])


def look_at(attack: Submission) -> FirstLook:
    """The first look at an attack. Raises FirstLook.DoesNotExist."""
    return FirstLook.objects.select_related("target", "submission__team", "submission__challenge").get(submission=attack)


def cells_of(attack: Submission) -> list[Cell]:
    """What an attack plays under today's rules, by defense; replays too."""
    found = Cell.objects.filter(attack=attack, rules_digest=attack.challenge.rules_digest).defer(
        "breaks", "distances", "report", "evaluation__report", "evaluation__pack"
    )
    return list(found.select_related("defense__team", "evaluation", "fall").order_by("left", "created", "pk"))


def with_looks(entries: QuerySet[Submission]) -> QuerySet[Submission]:
    """The same entries, with the first look at each attack and `felled`: how many examples it broke first."""
    felled = Sum(F("falls_caused__before") - F("falls_caused__after"))
    return entries.select_related("first_look").annotate(felled=felled)


def cell(public_id: str) -> Cell | None:
    """One cell with its two entries; None when there is none of that id."""
    found = Cell.objects.select_related("challenge", "defense__team", "attack__team", "fall", "archive").filter(
        public_id=public_id
    )
    return found.defer("breaks", "distances").first()


def share_left(cell: Cell | _Played) -> float | None:
    """The share of examples still right under this cell's attack alone; None for n/a."""
    return None if cell.left is None else cell.left / cell.examples
