"""The board of attacks, in a constant number of queries however many defenses and attacks there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from arena.challenges.models import Challenge
from arena.leaderboards.matrix import Column, columns
from arena.leaderboards.queries import board
from arena.matrix.models import Cell, Fall, Survival
from arena.matrix.queries import played
from arena.rankings.attacks import (
    CrossPlay,
    accuracy_left,
    all_unique_breaks,
    cross_play,
    dense_ranks,
    success_per_pass,
)
from arena.rankings.optimality import local_optimality
from evaluator.records.cost import cost


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
    left = [accuracy_left(cell.left, cell.examples) if (cell := cells.get(defense)) else None for defense in clean]
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
