"""Following an evaluation, and what it leaves behind."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from arena.api.authentication import Person, person_of
from arena.api.serializers import ErrorSerializer, EvaluationSerializer
from arena.evaluations.access import get_evaluation, get_own_evaluation, owns, require_report
from arena.evaluations.models import Evaluation
from arena.evaluations.services import ask_to_cancel
from arena.jobs.queries import live, log_text

REPORT = {200: OpenApiTypes.OBJECT, 403: ErrorSerializer}  # sealed while a phase is open


@extend_schema(summary="One evaluation", responses=EvaluationSerializer)
@api_view(["GET"])
def evaluation(request: Request, public_id: str) -> Response:
    person = person_of(request)
    return Response(_shown(get_evaluation(person, public_id), person))


@extend_schema(summary="The full report of a completed evaluation", responses=REPORT)
@api_view(["GET"])
def report(request: Request, public_id: str) -> Response:
    return Response(_report(person_of(request), public_id))


@extend_schema(summary="The signed report as a file, for `redoubt replay`", responses=REPORT)
@api_view(["GET"])
def receipt(request: Request, public_id: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="receipt-{public_id}.json"'}
    return Response(_report(person_of(request), public_id), headers=headers)


@extend_schema(summary="The submission's own output, for its team", responses={(200, "text/plain"): str})
@api_view(["GET"])
def log(request: Request, public_id: str) -> HttpResponse:
    found = get_own_evaluation(person_of(request), public_id)
    return HttpResponse(log_text(found), content_type="text/plain; charset=utf-8")


@extend_schema(summary="Stop an evaluation", request=None, responses={200: EvaluationSerializer, 400: ErrorSerializer})
@api_view(["POST"])
@permission_classes([IsAuthenticated])
def cancel(request: Request, public_id: str) -> Response:
    person = person_of(request)
    ask_to_cancel(evaluation=get_own_evaluation(person, public_id))
    return Response(_shown(get_evaluation(person, public_id), person))


def _shown(found: Evaluation, person: Person) -> dict[str, Any]:
    context = {"live": live(found), "own": owns(person, found)}
    return EvaluationSerializer(found, context=context).data


def _report(person: Person, public_id: str) -> dict[str, Any]:
    return require_report(person, get_evaluation(person, public_id))
