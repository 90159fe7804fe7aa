"""Reads of boards: a constant number of queries however many entries there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.evaluations.queries import summaries
from arena.jobs.progress import LiveProgress
from arena.jobs.queries import live_of
from arena.leaderboards.certified import CertifiedFigures, figures_of
from arena.leaderboards.models import Standing
from arena.matrix.models import Fall
from arena.rankings.defenses import CertifiedScore, DefenseScore, order_by_corruptions, order_certified, order_defenses
from arena.submissions.models import Submission
from evaluator.records.cost import cost
from evaluator.records.identity import JUDGING

SEARCHED = "its own search"  # the first verdict of a defense that replays had broken before
EARLIER_RULES = (
    f"Measured under earlier rules of this challenge, or by an evaluator that judges differently (now: judging {JUDGING}); "
    "it ranks again once it is re-evaluated."
)


@dataclass(frozen=True)
class Row:
    """One defense on a board.

    rank: None unless it is ranked. Accuracies are shares in [0, 1]; interval_low and interval_high bound robust_accuracy
    at 95 %. rows: what the verdict cost, in weighted rows. reasons: why it stands below the line. progress: while it
    runs; queue_position: while it waits (1 is next). extra_data: its team says that it trained on
    more than the challenge's data set. verified: whether the evaluator vouches for the figures, None before the verdict.
    """

    rank: int | None
    submission_id: str
    evaluation_id: str
    name: str
    format: str
    team_name: str
    team_slug: str
    state: str
    robust_accuracy: float | None
    interval_low: float | None
    interval_high: float | None
    clean_accuracy: float | None
    certified_accuracy: float | None
    rows: int | None
    seconds: float | None
    examples: int
    entered: datetime
    finished: datetime | None
    reasons: tuple[str, ...] = ()
    progress: LiveProgress | None = None
    queue_position: int | None = None
    certificate: CertifiedFigures | None = None
    extra_data: bool = False
    verified: bool | None = None
    mce: float | None = None
    relative_mce: float | None = None


@dataclass(frozen=True)
class Board:
    """A challenge's board: ranked best first; running before waiting, in queue order; unverified ones below the line.

    plain: on a certified board the classifiers of which nothing is proven: entries that ask for no certificate, and those
    behind a smoothed classifier, which is a row of its own.
    """

    slug: str
    title: str
    revision: int
    ranked: tuple[Row, ...]
    running: tuple[Row, ...]
    unverified: tuple[Row, ...]
    plain: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.ranked, *self.plain, *self.running, *self.unverified)


@dataclass(frozen=True)
class Event:
    """A point of a defense's history: its robust accuracy from `at` on, and why.

    attack_id, team, fallen: for a fall, whose attack broke how many more examples. A replay of what the official ensemble
    found on another defense is nobody's, and names that defense.
    """

    at: datetime
    robust_accuracy: float
    cause: str
    attack_id: str = ""
    team: str = ""
    fallen: int = 0


def board(challenge: Challenge) -> Board:
    """The challenge's board as it is now. Entries that failed or were cancelled are on no board."""
    shown = (Evaluation.State.COMPLETED, *Evaluation.UNFINISHED)
    evaluations = list(
        summaries()
        .defer("pack", "submission__archive")
        .filter(
            submission__challenge=challenge,
            submission__kind=Submission.Kind.DEFENSE,
            submission__withdrawn=None,
            current=True,
            state__in=shown,
        )
        .select_related("submission__team")
        .order_by("created", "pk")
    )
    completed = [item for item in evaluations if item.state == Evaluation.State.COMPLETED]
    standing = [item for item in completed if not _reasons(item, challenge)]
    below = [item for item in completed if _reasons(item, challenge)]
    live = live_of(item for item in evaluations if not item.is_finished)
    unfinished = sorted((item for item in evaluations if not item.is_finished), key=lambda item: item.state != "running")
    ordered = [row_of(standing[index], rank=place) for place, index in enumerate(best_first(standing, challenge), 1)]
    proven = figures_of(standing)
    figures = {item.public_id: proven[item.pk] for item in standing if item.pk in proven}
    ranked, plain = _by_proof(ordered, figures) if challenge.spec.certified else (_with_proofs(ordered, figures), [])
    return Board(
        slug=challenge.slug,
        title=challenge.title,
        revision=challenge.revision,
        ranked=tuple(ranked),
        plain=tuple(plain),
        running=tuple(
            row_of(item, progress=live[item.key].progress, queue_position=live[item.key].queue_position) for item in unfinished
        ),
        unverified=tuple(
            row_of(below[index], reasons=_reasons(below[index], challenge)) for index in best_first(below, challenge)
        ),
    )


def _with_proofs(rows: list[Row], figures: dict[str, CertifiedFigures]) -> list[Row]:
    """Rows of a board of attacks: what is proven of each entry itself, less what attacks have refuted since."""
    own = {key: found for key, found in figures.items() if found.classifier == "itself"}
    return [
        replace(row, certified_accuracy=found.accuracy, certificate=found) if (found := own.get(row.evaluation_id)) else row
        for row in rows
    ]


def _by_proof(rows: list[Row], figures: dict[str, CertifiedFigures]) -> tuple[list[Row], list[Row]]:
    """The rows of a certified board: classifiers with a certificate, ranked by it, and those without, by robust accuracy."""
    proven = [proven_row(row, figures[row.evaluation_id]) for row in rows if row.evaluation_id in figures]
    scores = [CertifiedScore(found.accuracy, found.average_radius, row.entered) for row in proven if (found := row.certificate)]
    ranked = [replace(proven[index], rank=place) for place, index in enumerate(order_certified(scores), 1)]
    own = {key for key, found in figures.items() if found.classifier == "itself"}
    plain = [replace(row, rank=None, certified_accuracy=None) for row in rows if row.evaluation_id not in own]
    return ranked, plain


def proven_row(row: Row, figures: CertifiedFigures) -> Row:
    """The row of the certified classifier: of the entry itself, or of its smoothed version, whose accuracies are others."""
    return replace(
        row,
        robust_accuracy=figures.empirical_accuracy,
        interval_low=figures.interval_low,
        interval_high=figures.interval_high,
        clean_accuracy=figures.clean_accuracy,
        certified_accuracy=figures.accuracy,
        certificate=figures,
    )


def history(submission: Submission) -> list[Event]:
    """How the defense's robust accuracy moved, oldest first."""
    return histories(submission.challenge, only=submission).get(submission.public_id, [])


def histories(challenge: Challenge, *, only: Submission | None = None) -> dict[str, list[Event]]:
    """Submission's public id -> its history, for a whole board (or one defense) in two queries: verdicts and falls."""
    standings, falls = Standing.objects.filter(challenge=challenge), Fall.objects.filter(challenge=challenge)
    if only is not None:
        standings, falls = standings.filter(submission=only), falls.filter(defense=only)
    found: dict[str, list[Event]] = {}
    entered: dict[str, Event] = {}
    for public_id, at, accuracy, cause in standings.values_list("submission__public_id", "at", "robust_accuracy", "cause"):
        found.setdefault(public_id, []).append(Event(at=at, robust_accuracy=accuracy, cause=cause))
    for fall in falls.select_related("defense", "attack__team"):
        event = Event(
            at=fall.at,
            robust_accuracy=fall.after / fall.examples,
            cause=f"by {fall.author}",
            attack_id=fall.attack.public_id,
            team="" if fall.by_transfer else fall.attack.team.name,
            fallen=fall.fallen,
        )
        defense = fall.defense
        found.setdefault(defense.public_id, []).append(event)
        entered.setdefault(defense.public_id, Event(defense.created, fall.before / fall.examples, Standing.Cause.ENTERED))
    return {public_id: _ordered(events, entered.get(public_id)) for public_id, events in found.items()}


def _ordered(events: list[Event], entered: Event | None) -> list[Event]:
    """Oldest first. entered: where the first fall started from, the beginning for a defense that fell before its verdict."""
    ordered = sorted(events, key=lambda event: event.at)
    if entered is None or not ordered[0].attack_id:
        return ordered
    return [entered, *(replace(each, cause=SEARCHED) if each.cause == entered.cause else each for each in ordered)]


def _reasons(evaluation: Evaluation, challenge: Challenge) -> tuple[str, ...]:
    """Why a completed evaluation does not rank; empty when it does."""
    reasons = [EARLIER_RULES] if evaluation.rules_digest != challenge.rules_digest else []
    if not evaluation.verified:
        evidence = [flag["evidence"] for flag in evaluation.flags if flag["severity"] == "unverified"]
        reasons += evidence or ["Its result could not be verified."]
    return tuple(reasons)


def doubt(evaluation: Evaluation) -> str:
    """What must be said wherever a completed evaluation's figure is quoted, in a word or two; "" where it may stand alone."""
    if evaluation.submission.withdrawn is not None:
        return "withdrawn"
    if not evaluation.verified:
        return "unverified"
    same = evaluation.rules_digest == evaluation.submission.challenge.rules_digest
    return "" if same else "measured under earlier rules"


def best_first(evaluations: Sequence[Evaluation], challenge: Challenge) -> list[int]:
    """Indices of completed evaluations in the order of a board of attacks, by what the challenge ranks by."""
    order = order_by_corruptions if challenge.spec.ranking.by == "mce" else order_defenses
    return order(
        [
            DefenseScore(
                robust=item.robust_accuracy or 0.0,
                clean=item.clean_accuracy or 0.0,
                cost=_rows(item) or 0,
                entered=item.submission.created,
                mce=item.mce,
            )
            for item in evaluations
        ]
    )


def _rows(evaluation: Evaluation) -> int | None:
    if evaluation.forward_rows is None or evaluation.backward_rows is None:
        return None
    return cost(evaluation.forward_rows, evaluation.backward_rows)


def row_of(
    evaluation: Evaluation,
    *,
    rank: int | None = None,
    reasons: tuple[str, ...] = (),
    progress: LiveProgress | None = None,
    queue_position: int | None = None,
) -> Row:
    """What a board shows of one evaluation."""
    submission = evaluation.submission
    return Row(
        rank=rank,
        submission_id=submission.public_id,
        evaluation_id=evaluation.public_id,
        name=submission.name,
        format=submission.manifest["format"],
        team_name=submission.team.name,
        team_slug=submission.team.slug,
        state=evaluation.state,
        robust_accuracy=evaluation.robust_accuracy,
        interval_low=evaluation.interval_low,
        interval_high=evaluation.interval_high,
        clean_accuracy=evaluation.clean_accuracy,
        certified_accuracy=evaluation.certified_accuracy,
        rows=_rows(evaluation),
        seconds=evaluation.seconds,
        examples=evaluation.examples,
        entered=submission.created,
        finished=evaluation.finished,
        extra_data=submission.manifest.get("extra_data", False),
        verified=evaluation.verified,
        mce=evaluation.mce,
        relative_mce=evaluation.relative_mce,
        reasons=reasons,
        progress=progress,
        queue_position=queue_position,
    )
