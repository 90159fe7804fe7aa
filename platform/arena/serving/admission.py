"""How much one web process does at once. What is over it waits a while, then hears when to try again.

Under ASGI every request gets a thread of its own, and with it a connection to the database. Without a bound a crowd takes all
that PostgreSQL has, and the workers' too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from arena.serving.body_limit import App, Receive, Scope, Send
from arena.serving.refusing import busy, refuse

_BUSY = "The site is overloaded at the moment."
_AGAIN_SECONDS = 10

SyncView = Callable[[HttpRequest], HttpResponseBase]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@sync_and_async_middleware
def admission(view: SyncView | AsyncView) -> SyncView | AsyncView:
    """Django middleware: REDOUBT_REQUESTS views run at once; one waits for at most REDOUBT_WAIT_SECONDS, then 503.

    A request's body was read before, and its answer is sent after: slow readers and writers hold no place here, and no
    connection.
    """
    if not iscoroutinefunction(view):
        return view  # a server with one thread a request bounds itself

    async def admitted(request: HttpRequest) -> HttpResponseBase:
        slots = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(settings.REDOUBT_REQUESTS))
        try:
            async with asyncio.timeout(settings.REDOUBT_WAIT_SECONDS):
                await slots.acquire()
        except TimeoutError:
            return _refusal(request)
        try:
            return await _to_its_end(_answer(view, request))
        finally:
            slots.release()

    return admitted


class OpenRequests:
    """ASGI middleware: at most `limit` requests are open in this process, those included that wait or are being sent."""

    def __init__(self, app: App, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._open >= self._limit:
            await refuse(scope, send, _BUSY, seconds=_AGAIN_SECONDS)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


async def _answer(view: AsyncView, request: HttpRequest) -> HttpResponseBase:
    try:
        return await view(request)
    finally:
        await sync_to_async(_let_go)()


async def _to_its_end(answer: Awaitable[HttpResponseBase]) -> HttpResponseBase:
    """Waits for a view even when its reader has left: its thread works on, and holds what it holds until it is done."""
    task = asyncio.ensure_future(answer)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _let_go() -> None:
    """Gives this thread's connections back before the answer is sent."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _refusal(request: HttpRequest) -> HttpResponse:
    kind, body = busy(request.path, _BUSY, seconds=_AGAIN_SECONDS)
    headers = {"Retry-After": str(_AGAIN_SECONDS), "Cache-Control": "no-store"}
    return HttpResponse(body, status=503, content_type=kind, headers=headers)
