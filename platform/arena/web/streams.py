"""Streams of events, outside Django: one costs a coroutine, and neither a thread nor a connection to the database.

Django answers the request first, so who may read what is decided where it always is. An answer with the header `HAND_OVER`
gives the line to this middleware once Django has let go of everything that the request held.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from typing import Any

from django.core.handlers.asgi import ASGIRequest

from arena.accounts.rates import client_address
from arena.serving.body_limit import App, Message, Receive, Scope, Send
from arena.serving.refusing import refuse
from arena.web.live import stream

HAND_OVER = "X-Redoubt-Stream"  # names what to follow; it never leaves the server
SHARES = 10
_NAME = HAND_OVER.lower().encode()


class EventStreams:
    """ASGI middleware: follows the boards for every reader whom Django admits, for at most `limit` readers at once.

    One address has a tenth of them at most, so that nobody takes the lines of all others.
    """

    def __init__(self, app: App, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._open = 0
        self._each: Counter[str] = Counter()  # address -> streams that are open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started: Message | None = None
        follow: dict[str, Any] | None = None

        async def watched(message: Message) -> None:
            nonlocal started, follow
            if message["type"] == "http.response.start":
                follow = _handed_over(message)
                started = message
            if follow is None:
                await send(message)

        await self._app(scope, receive, watched)
        if follow is None or started is None:
            return
        address = client_address(ASGIRequest(scope, io.BytesIO()))
        if self._open >= self._limit:
            await refuse(scope, send, "Too many pages are open on this site right now.", seconds=30)
            return
        if self._each[address] >= max(1, self._limit // SHARES):
            await refuse(scope, send, "Too many pages are open on this site from your address.", seconds=30)
            return
        hidden = (_NAME, b"content-length")
        headers = [(name, value) for name, value in started["headers"] if name.lower() not in hidden]
        await send({**started, "headers": headers})
        self._open += 1
        self._each[address] += 1
        try:
            await _first_of(_send_events(send, staff=bool(follow["staff"])), _until_gone(receive))
        finally:
            self._open -= 1
            self._each[address] -= 1
            if not self._each[address]:
                del self._each[address]


def _handed_over(message: Message) -> dict[str, Any] | None:
    for name, value in message["headers"]:
        if name.lower() == _NAME:
            follow: dict[str, Any] = json.loads(value)
            return follow
    return None


async def _send_events(send: Send, *, staff: bool) -> None:
    async for text in stream(staff=staff):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(*works: Any) -> None:
    """Runs both until one ends, ends the other, and raises what the first one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
