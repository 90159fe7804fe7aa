"""Tells open pages which boards changed, and nothing else: each page then asks for its own partial.

The database is asked once per interval and process, however many readers there are. It works the same on SQLite and
PostgreSQL and needs no broker. Runs under ASGI (uvicorn).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from arena.challenges.queries import Revision, every_revision

INTERVAL = 0.5  # seconds between two looks at the database
HEARTBEAT = 15.0  # seconds of silence after which a comment keeps proxies from closing the line
LIFE = 600.0  # seconds after which a stream ends and the browser connects again, so that a deploy is never held up for long
ALL = "all"  # the name under which the changes of all boards are counted

log = logging.getLogger(__name__)


class RevisionFeed:
    """The newest revision of every board, and who waits for the next one; belongs to one event loop."""

    def __init__(self, read: Callable[[], dict[int, Revision]] = every_revision) -> None:
        self._read = read
        self._revisions: dict[int, Revision] | None = None  # None: not read yet
        self._news = asyncio.Event()
        self._readers = 0
        self._poller: asyncio.Task[None] | None = None

    async def follow(self, *, staff: bool = False, life: float = LIFE) -> AsyncIterator[dict[str, int]]:
        """Yields board -> revision: first of every board that the reader may see, then of those that changed.

        An empty one is a heartbeat. The board `ALL` counts the changes of all published ones. staff: of unpublished ones, too.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + life
        known: dict[str, int] = {}
        self._join()
        try:
            while (left := end - loop.time()) > 0:
                news = self._news
                now = _shown(self._revisions, staff=staff)
                if changed := {board: number for board, number in now.items() if known.get(board) != number}:
                    known = now
                    yield changed
                    continue
                try:
                    await asyncio.wait_for(news.wait(), min(HEARTBEAT, left))
                except TimeoutError:
                    yield {}
        finally:
            self._leave()

    def _join(self) -> None:
        self._readers += 1
        if self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    def _leave(self) -> None:
        self._readers -= 1
        if self._readers == 0 and self._poller is not None:
            self._poller.cancel()
            self._poller = None
            self._revisions = None

    async def _poll(self) -> None:
        # A thread of its own, so that the connection is reused instead of one being opened per pool thread.
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="boards")
        read = sync_to_async(self._look, thread_sensitive=False, executor=thread)
        try:
            while True:
                await self._refresh(read)
                await asyncio.sleep(INTERVAL)
        finally:
            thread.shutdown(wait=False)

    async def _refresh(self, read: Callable[[], Awaitable[dict[int, Revision]]]) -> None:
        try:
            fresh = await read()
        except Exception:
            log.exception("The boards' revisions could not be read; trying again.")
            return
        if fresh != self._revisions:
            self._revisions = fresh
            self._news.set()
            self._news = asyncio.Event()

    def _look(self) -> dict[int, Revision]:
        close_old_connections()
        try:
            return self._read()
        finally:
            close_old_connections()


def _shown(revisions: dict[int, Revision] | None, *, staff: bool) -> dict[str, int]:
    if revisions is None:
        return {}
    seen = {str(board): number for board, (number, published) in revisions.items() if published or staff}
    return seen | {ALL: sum(number for number, published in revisions.values() if published)}


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, RevisionFeed] = WeakKeyDictionary()


async def stream(*, staff: bool = False, life: float = LIFE) -> AsyncIterator[str]:
    """The text of one server-sent event stream: `changed` with board -> revision as JSON, comments as heartbeats."""
    feed = _feeds.setdefault(asyncio.get_running_loop(), RevisionFeed())
    yield "retry: 2000\n\n"
    async for news in feed.follow(staff=staff, life=life):
        yield f"event: changed\ndata: {json.dumps(news)}\n\n" if news else ": still here\n\n"
