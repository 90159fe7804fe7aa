"""The matrix as it is shown: the board's defenses against every attack, in a constant number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from arena.challenges.models import Challenge
from arena.leaderboards.queries import Row, board
from arena.matrix.models import Cell, FirstLook
from arena.matrix.queries import played
from arena.rankings.attacks import accuracy_left
from arena.submissions.models import Submission

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
    team_id: int
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
            attack.team_id,
            attack.team.name,
            attack.team.slug,
            attack.manifest["format"],
            attack.created,
        )
        for attack in attacks
    )


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
            found[names[defense]][place[attack]] = Square(cell_id, state, accuracy_left(left, examples), broken)
    return Matrix(rows, attacks, tuple(tuple(found[row.submission_id]) for row in rows))
