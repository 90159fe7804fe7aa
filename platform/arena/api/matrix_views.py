"""Attacks, the matrix and rankings."""

from __future__ import annotations

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from arena.accounts.access import is_member
from arena.api.authentication import person_of
from arena.api.matrix_serializers import AttackSerializer, MatrixSerializer, RankingsSerializer
from arena.challenges.access import get_challenge
from arena.leaderboards.attacks import attack_board
from arena.leaderboards.matrix import matrix as matrix_of
from arena.leaderboards.queries import board
from arena.leaderboards.significance import significance
from arena.matrix import queries
from arena.matrix.models import Cell, FirstLook
from arena.submissions.access import get_submission


@extend_schema(summary="An attack, what the first look found, and its cells", responses=AttackSerializer)
@api_view(["GET"])
def attack(request: Request, public_id: str) -> Response:
    person = person_of(request)
    submission = get_submission(person, public_id)
    try:
        look = queries.look_at(submission)
    except FirstLook.DoesNotExist as error:
        raise Http404("There is no such attack.") from error
    rows = attack_board(submission.challenge) if look.verdict == FirstLook.Verdict.ACCEPTED else []
    repeats = next((row.repeats for row in rows if row.attack.pk == submission.pk), None)
    answer = AttackSerializer(look, context={"cells": queries.cells_of(submission), "repeats": repeats}).data
    owner = is_member(person, submission.team)
    # What a defense said when it failed is its own team's.
    told = [cell if owner and cell["state"] != Cell.State.DEFENSE_FAILED else cell | {"detail": ""} for cell in answer["cells"]]
    answer |= {"detail": answer["detail"] if owner else "", "cells": told}
    return Response(answer)


@extend_schema(summary="Every attack against every standing defense", responses=MatrixSerializer)
@api_view(["GET"])
def matrix(request: Request, slug: str) -> Response:
    challenge = get_challenge(person_of(request), slug)
    found = matrix_of(challenge)
    rows = [
        {
            "defense": row.submission_id,
            "name": row.name,
            "robust_accuracy": row.robust_accuracy,
            "verified": row.verified,
            "cells": squares,
        }
        for row, squares in zip(found.rows, found.squares, strict=True)
    ]
    return Response(MatrixSerializer({"challenge": slug, "attacks": found.columns, "defenses": rows}).data)


@extend_schema(summary="Ranks of defenses with their rank sets, and of attacks", responses=RankingsSerializer)
@api_view(["GET"])
def rankings(request: Request, slug: str) -> Response:
    challenge = get_challenge(person_of(request), slug)
    sure = significance(challenge)
    defenses = [
        {
            "rank": row.rank,
            "best_rank": sure[row.submission_id].rank_set[0] if row.submission_id in sure else None,
            "worst_rank": sure[row.submission_id].rank_set[1] if row.submission_id in sure else None,
            "p_value_next": sure[row.submission_id].p_value if row.submission_id in sure else None,
            "id": row.submission_id,
            "name": row.name,
            "robust_accuracy": row.robust_accuracy,
            "interval": [row.interval_low, row.interval_high],
        }
        for row in board(challenge).ranked
    ]
    return Response(RankingsSerializer({"defenses": defenses, "attacks": attack_board(challenge)}).data)
