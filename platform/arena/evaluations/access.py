"""The only way to fetch an evaluation, and who may see what of it.

Everyone sees states and scores, and the report with its receipt once completed. The submission's own output, and
stopping an evaluation, belong to the team and to staff: for everyone else they do not exist.
"""

from __future__ import annotations

from typing import Any

from django.http import Http404

from arena.accounts.access import Person, is_member
from arena.challenges.access import require_unsealed
from arena.evaluations.models import Evaluation


def get_evaluation(person: Person, public_id: str) -> Evaluation:
    """The evaluation of that public id. Raises Http404."""
    evaluation = (
        Evaluation.objects.select_related("submission__team", "submission__challenge", "submission__user")
        .filter(public_id=public_id)
        .first()
    )
    if evaluation is None or not (evaluation.submission.challenge.published or person.is_staff):
        raise Http404("There is no such evaluation.")
    return evaluation


def owns(person: Person, evaluation: Evaluation) -> bool:
    """Whether the person may see the log and the failure's detail, and may cancel."""
    return is_member(person, evaluation.submission.team)


def require_report(person: Person, evaluation: Evaluation) -> dict[str, Any]:
    """The report with its verdicts of single examples; others than its team may not read it while a phase is open.

    Raises Http404 where there is none yet, and PermissionDenied with the date.
    """
    if evaluation.report is None:
        raise Http404("There is no report: the evaluation is not completed.")
    if not owns(person, evaluation):
        require_unsealed(person, evaluation.submission.challenge)
    table: dict[str, Any] = evaluation.report
    return table


def get_own_evaluation(person: Person, public_id: str) -> Evaluation:
    """The same, for the team that entered it and staff only. Raises Http404."""
    evaluation = get_evaluation(person, public_id)
    if not owns(person, evaluation):
        raise Http404("There is no such evaluation.")
    return evaluation
