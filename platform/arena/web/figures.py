"""From stored evaluations to what pages show: plain values, computed once, so that templates only print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from arena.evaluations.models import Evaluation
from arena.leaderboards.models import Standing
from arena.leaderboards.queries import SEARCHED, Board, Event, Row
from arena.web import wording
from arena.web.svg import Bracket
from evaluator.manifests.spec import Challenge
from evaluator.records.cost import cost

_FIRST = (Standing.Cause.ENTERED, SEARCHED)


@dataclass(frozen=True)
class Stage:
    """One attack of the ensemble on the entry page. accuracy: share of all examples still correct after it, in [0, 1]."""

    name: str
    tried: int
    broken: int
    survivors: int
    accuracy: float
    forward_rows: int
    backward_rows: int
    seconds: float

    @property
    def rows(self) -> int:
        """Weighted rows."""
        return cost(self.forward_rows, self.backward_rows)


@dataclass(frozen=True)
class Words:
    """A challenge's rules in words, for chips and tables.

    other_goal: the goal, where it is not the usual one; black_box: whether the official search sees no more than attackers do.
    """

    threat: str
    access: str
    data: str
    goal: str
    other_goal: str
    ensemble: str
    black_box: bool

    @classmethod
    def of(cls, challenge: Challenge) -> Words:
        """The words of a validated manifest."""
        return cls(
            threat=f"{challenge.threat.words} in [0, 1]",
            access=wording.access_words(challenge),
            data=wording.data_words(challenge),
            goal=wording.goal_words(challenge),
            other_goal="" if challenge.goal.kind == "untargeted" else wording.goal_words(challenge),
            ensemble=wording.ensemble_words(challenge),
            black_box=challenge.evaluation.ensemble == "black-box",
        )


@dataclass(frozen=True)
class Drop:
    """A drop of a standing defense's robust accuracy: by `drop` (a share) at `at`, and what caused it."""

    drop: float
    at: datetime
    cause: str


def last_fall(history: Sequence[Event]) -> Drop | None:
    """The last event of a history (oldest first) that is lower than the one before it, since the first verdict."""
    verdict = max((place for place, event in enumerate(history) if event.cause in _FIRST), default=0)
    falls = [
        Drop(before.robust_accuracy - after.robust_accuracy, after.at, after.cause)
        for before, after in pairwise(history[verdict:])
        if after.robust_accuracy < before.robust_accuracy
    ]
    return falls[-1] if falls else None


def step_label(event: Event) -> str:
    """An event of a defense's history in a few words: the attack's name and how many examples, or what else happened."""
    if not event.attack_id:
        return event.cause
    # Isolated from the figure beside it, as <bdi> does it on pages: the text of a drawing knows no elements.
    name = event.cause.removeprefix("by ")
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}: {event.fallen:,}"


def last_change(board: Board) -> datetime | None:
    """When an entry of the board was last made or judged."""
    return max((moment for row in board.rows for moment in (row.entered, row.finished) if moment), default=None)


def bracket_of(evaluation: Evaluation | Row) -> Bracket | None:
    """The bracket's figures, None while there are none."""
    robust, clean = evaluation.robust_accuracy, evaluation.clean_accuracy
    if robust is None or clean is None or evaluation.interval_low is None or evaluation.interval_high is None:
        return None
    return Bracket(robust, (evaluation.interval_low, evaluation.interval_high), clean, evaluation.certified_accuracy)


def attack_rows(evaluation: Evaluation) -> list[Stage]:
    """The ensemble's attacks in the order they ran, those with nothing to try left out; empty without a report."""
    records = [record for record in (evaluation.report or {}).get("attacks", []) if record["tried"]]
    return [Stage(**record, accuracy=record["survivors"] / evaluation.examples) for record in records]


def falling_shares(evaluation: Evaluation) -> list[float]:
    """Accuracy on clean images, then after each attack of the ensemble."""
    if evaluation.clean_accuracy is None:
        return []
    return [evaluation.clean_accuracy, *(row.accuracy for row in attack_rows(evaluation))]
