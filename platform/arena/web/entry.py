"""What an entry's page shows, gathered from the other apps' queries."""

from __future__ import annotations

from typing import Any

from arena.evaluations.models import Evaluation
from arena.jobs.queries import live, log_text
from arena.leaderboards.queries import board, doubt
from arena.leaderboards.significance import significance
from arena.rankings.defenses import show_rank_set
from arena.web.certified import proof_section
from arena.web.corruptions import corruption_section
from arena.web.figures import attack_rows, bracket_of, falling_shares
from arena.web.honesty import check_rows
from arena.web.row_of_matrix import matrix_sections
from arena.web.wording import advice
from evaluator.records.cost import cost


def entry_page(evaluation: Evaluation, *, owner: bool, sealed: bool) -> dict[str, Any]:
    """The page's context.

    owner: whether the reader may see the log and the failure's detail, and may cancel. sealed: whether verdicts of single
    examples are kept from the reader for now.
    """
    submission = evaluation.submission
    moving = live(evaluation)
    context: dict[str, Any] = {
        "evaluation": evaluation,
        "submission": submission,
        "challenge": submission.challenge,
        "progress": moving.progress,
        "position": moving.queue_position,
        "owner": owner,
        "sealed": sealed,
        "may_cancel": owner and not evaluation.is_finished,
        "advice": advice(evaluation.reason),
        "log": log_text(evaluation) if owner else "",
    }
    context |= _verdict(evaluation)
    return context | {"gallery": None} if sealed else context


def _verdict(evaluation: Evaluation) -> dict[str, Any]:
    """The part that exists once the evaluation is completed."""
    if evaluation.state != Evaluation.State.COMPLETED or evaluation.report is None:
        return {}
    submission = evaluation.submission
    standing = board(submission.challenge)
    sure = significance(submission.challenge, standing).get(submission.public_id)
    rank = next((row.rank for row in standing.ranked if row.submission_id == submission.public_id), None)
    return {
        "bracket": bracket_of(evaluation),
        "doubt": doubt(evaluation),
        "proof": proof_section(evaluation),
        "corruptions": corruption_section(evaluation),
        "attacks": attack_rows(evaluation),
        "checks": check_rows(evaluation),
        "shares": falling_shares(evaluation),
        "cost": cost(evaluation.forward_rows or 0, evaluation.backward_rows or 0),
        "environment": evaluation.report["environment"],
        "signed": evaluation.report.get("receipt") is not None,
        "rank": show_rank_set(sure.rank_set) if sure else rank,
        "ranked": len(standing.ranked),
    } | matrix_sections(evaluation)
