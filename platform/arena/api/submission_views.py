"""Entering and following submissions."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import api_view, parser_classes, permission_classes
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from arena.accounts.access import get_own_team, own_teams
from arena.accounts.models import User
from arena.api.authentication import Person, person_of
from arena.api.pagination import Pages
from arena.api.schema import MULTIPART_ERRORS, EntryPageSerializer
from arena.api.serializers import (
    EntrySerializer,
    ErrorSerializer,
    EvaluationSerializer,
    MeSerializer,
    NewSubmissionSerializer,
    SubmissionSerializer,
)
from arena.challenges.access import get_challenge
from arena.evaluations.entries import with_evaluations
from arena.jobs.queries import Live, live_of
from arena.serving.body_limit import takes_uploads
from arena.serving.files import StreamedFile
from arena.submissions import services
from arena.submissions.access import get_own_submission, get_submission
from arena.submissions.models import Submission
from arena.submissions.queries import of_user

_NOTHING = Live(queue_position=None, progress=None)


@extend_schema(summary="Whose token this is", responses=MeSerializer)
@api_view(["GET"])
@permission_classes([IsAuthenticated])
def me(request: Request) -> Response:
    person = person_of(request)
    assert isinstance(person, User)
    return Response(MeSerializer(person).data)


@takes_uploads
@extend_schema(
    methods=["GET"],
    operation_id="submissions_list",
    summary="Your teams' submissions, newest first, page by page",
    parameters=[
        OpenApiParameter("page", OpenApiTypes.INT, description="From 1 on."),
        OpenApiParameter(
            "page_size", OpenApiTypes.INT, description=f"{Pages.page_size} when left out, at most {Pages.max_page_size}."
        ),
    ],
    responses={200: EntryPageSerializer, 404: ErrorSerializer},
)
@extend_schema(
    methods=["POST"],
    summary="Enter a submission",
    request={"multipart/form-data": NewSubmissionSerializer},
    responses={201: EntrySerializer, **MULTIPART_ERRORS},
)
@api_view(["GET", "POST"])
@permission_classes([IsAuthenticated])
@parser_classes([MultiPartParser])
def submissions(request: Request) -> Response:
    person = person_of(request)
    assert isinstance(person, User)
    if request.method == "GET":
        pages = Pages()
        page = pages.paginate_queryset(of_user(person), request) or []
        return pages.get_paginated_response(_entries(page, person))
    form = NewSubmissionSerializer(data=request.data)
    form.is_valid(raise_exception=True)
    challenge = get_challenge(person, form.validated_data["challenge"])
    team = get_own_team(person, form.validated_data.get("team"))
    submission = services.submit(user=person, team=team, challenge=challenge, archive=form.validated_data["archive"])
    return Response(_entries([submission], person)[0], status=status.HTTP_201_CREATED)


@extend_schema(summary="One submission and its evaluation", responses=EntrySerializer)
@api_view(["GET"])
def submission(request: Request, public_id: str) -> Response:
    person = person_of(request)
    return Response(_entries([get_submission(person, public_id)], person)[0])


@extend_schema(
    summary="The archive of one of your teams' submissions, as it was entered",
    responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
)
@api_view(["GET"])
@permission_classes([IsAuthenticated])
def archive(request: Request, public_id: str) -> StreamedFile:
    stored = get_own_submission(person_of(request), public_id).archive
    return StreamedFile(stored.open("rb"), as_attachment=True, filename=PurePosixPath(str(stored.name)).name)


@extend_schema(summary="Take a submission off the board", request=None, responses={200: EntrySerializer, 400: ErrorSerializer})
@api_view(["POST"])
@permission_classes([IsAuthenticated])
def withdraw(request: Request, public_id: str) -> Response:
    person = person_of(request)
    services.withdraw(submission=get_own_submission(person, public_id))
    return Response(_entries([get_submission(person, public_id)], person)[0])


def _entries(submissions: list[Submission], person: Person) -> list[dict[str, Any]]:
    """Submissions with their current evaluations."""
    entries = with_evaluations(submissions)
    live = live_of([entry.evaluation for entry in entries if entry.evaluation])
    own = own_teams(person, {submission.team_id for submission in submissions})
    answers = []
    for entry in entries:
        shown = None
        if entry.evaluation:
            context = {"live": live.get(entry.evaluation.key, _NOTHING), "own": entry.submission.team_id in own}
            shown = EvaluationSerializer(entry.evaluation, context=context).data
        answers.append({"submission": SubmissionSerializer(entry.submission).data, "evaluation": shown})
    return answers
