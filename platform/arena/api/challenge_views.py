"""Challenges and their boards, for everyone."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from arena.api.authentication import person_of
from arena.api.serializers import BoardSerializer, ChallengeDetailSerializer, ChallengeSerializer
from arena.challenges.access import get_challenge
from arena.challenges.queries import published
from arena.leaderboards.queries import board


@extend_schema(summary="Every published challenge", responses=ChallengeSerializer(many=True))
@api_view(["GET"])
def challenges(request: Request) -> Response:
    return Response(ChallengeSerializer(published(), many=True).data)


@extend_schema(summary="One challenge with its rules", responses=ChallengeDetailSerializer)
@api_view(["GET"])
def challenge(request: Request, slug: str) -> Response:
    return Response(ChallengeDetailSerializer(get_challenge(person_of(request), slug)).data)


@extend_schema(summary="A challenge's board", responses=BoardSerializer)
@api_view(["GET"])
def challenge_board(request: Request, slug: str) -> Response:
    return Response(BoardSerializer(board(get_challenge(person_of(request), slug))).data)
