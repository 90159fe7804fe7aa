"""Server-sent events: "the board changed", nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from arena.challenges.access import get_challenge
from arena.web.live import stream


def _answer(events: AsyncIterator[str]) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


def _after(request: HttpRequest) -> int:
    """The revision that the reader has: of the last event, or of the page as it was sent."""
    known = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    return int(known) if known.isascii() and known.isdigit() and len(known) < 19 else 0


@require_GET
async def board(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    """Changes of one challenge's board."""
    user = await request.auser()
    challenge = await sync_to_async(get_challenge)(user, slug)
    return _answer(stream(challenge.pk, _after(request)))


@require_GET
async def boards(request: HttpRequest) -> StreamingHttpResponse:
    """Changes of any board."""
    return _answer(stream(None, _after(request)))
