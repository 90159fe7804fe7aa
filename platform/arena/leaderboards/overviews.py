"""Every board in miniature, for the front page: a constant number of queries however many boards there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Max, Q, QuerySet

from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.leaderboards.queries import Row, best_first, board, row_of
from arena.submissions.models import Submission


@dataclass(frozen=True)
class Overview:
    """A board in miniature. changed: when an entry was last made or judged; None on an empty board."""

    challenge: Challenge
    leader: Row | None
    ranked: int
    running: int
    changed: datetime | None


def overviews(challenges: Sequence[Challenge]) -> list[Overview]:
    """The boards of `challenges` in miniature, in two queries however many boards and entries there are.

    Boards that rank by something else than robust accuracy are read whole.
    """
    current = Evaluation.objects.filter(
        submission__kind=Submission.Kind.DEFENSE,
        submission__withdrawn=None,
        current=True,
    )
    ranks = Q(state=Evaluation.State.COMPLETED, verified=True, rules_digest=F("submission__challenge__rules_digest"))
    shown = Q(state__in=(Evaluation.State.COMPLETED, *Evaluation.UNFINISHED))
    counts: dict[int, dict[str, Any]] = {
        row["submission__challenge"]: dict(row)
        for row in current.filter(submission__challenge__in=challenges)
        .order_by()
        .values("submission__challenge")
        .annotate(
            ranked=Count("pk", filter=ranks),
            best=Max("robust_accuracy", filter=ranks),
            running=Count("pk", filter=Q(state__in=Evaluation.UNFINISHED)),
            entered=Max("submission__created", filter=shown),
            judged=Max("finished", filter=shown),
        )
    }
    leaders = _leaders(current.filter(ranks), {item: counts[item.pk]["best"] for item in challenges if item.pk in counts})
    found = [_overview(item, counts.get(item.pk), leaders.get(item.pk)) for item in challenges]
    return [_by_its_board(item) if item.leader and _ranks_otherwise(item.challenge) else item for item in found]


def _ranks_otherwise(challenge: Challenge) -> bool:
    """By proof, or by the mean corruption error."""
    return challenge.spec.certified is not None or challenge.spec.ranking.by != "robust"


def _leaders(ranked: QuerySet[Evaluation], best: dict[Challenge, float | None]) -> dict[int, Evaluation]:
    """Challenge id -> the first of those that share its best robust accuracy; no long board is read for its first row."""
    tied = Q(pk__in=[])
    for challenge, accuracy in best.items():
        if accuracy is not None:
            tied |= Q(submission__challenge=challenge, robust_accuracy=accuracy)
    found: dict[int, list[Evaluation]] = {}
    for item in ranked.filter(tied).defer("report", "pack").select_related("submission__team"):
        found.setdefault(item.submission.challenge_id, []).append(item)
    return {item.pk: found[item.pk][best_first(found[item.pk], item)[0]] for item in best if item.pk in found}


def _by_its_board(overview: Overview) -> Overview:
    """Its board's leader and number of ranked rows; on a certified board a smoothed classifier is one of them."""
    ranked = board(overview.challenge).ranked
    return replace(overview, leader=ranked[0] if ranked else None, ranked=len(ranked))


def _overview(challenge: Challenge, counts: dict[str, Any] | None, leader: Evaluation | None) -> Overview:
    if counts is None:
        return Overview(challenge=challenge, leader=None, ranked=0, running=0, changed=None)
    moments = [moment for moment in (counts["entered"], counts["judged"]) if moment]
    return Overview(
        challenge=challenge,
        leader=row_of(leader, rank=1) if leader else None,
        ranked=counts["ranked"],
        running=counts["running"],
        changed=max(moments, default=None),
    )
