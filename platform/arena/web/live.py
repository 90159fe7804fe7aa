"""Tells open pages that a board changed, and nothing else: the page then asks for its own partial.

The database is asked once per interval and process, however many readers there are; it works the same on SQLite and
PostgreSQL and needs no broker. Runs under ASGI (uvicorn).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from arena.challenges.queries import every_revision

INTERVAL = 0.5  # seconds between two looks at the database
HEARTBEAT = 15.0  # seconds of silence after which a comment keeps proxies from closing the line
LIFE = 600.0  # seconds after which a stream ends and the browser connects again, so that a deploy is never held up for long

log = logging.getLogger(__name__)


class RevisionFeed:
    """The newest revision of every board, and who waits for the next one; belongs to one event loop."""

    def __init__(self, read: Callable[[], dict[int, int]] = every_revision) -> None:
        self._read = read
        self._revisions: dict[int, int] = {}
        self._news = asyncio.Event()
        self._readers = 0
        self._poller: asyncio.Task[None] | None = None

    async def follow(self, board: int | None, after: int, *, life: float = LIFE) -> AsyncIterator[int | None]:
        """Yields the revision of `board` (None: the sum over all boards) whenever it is not `after`, None as a heartbeat."""
        loop = asyncio.get_running_loop()
        end = loop.time() + life
        self._join()
        try:
            while (left := end - loop.time()) > 0:
                news = self._news
                revision = self._revisions.get(board, after) if board is not None else sum(self._revisions.values()) or after
                if revision != after:
                    after = revision
                    yield revision
                    continue
                try:
                    await asyncio.wait_for(news.wait(), min(HEARTBEAT, left))
                except TimeoutError:
                    yield None
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
            self._revisions = {}

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

    async def _refresh(self, read: Callable[[], Awaitable[dict[int, int]]]) -> None:
        try:
            fresh = await read()
        except Exception:
            log.exception("The boards' revisions could not be read; trying again.")
            return
        if fresh != self._revisions:
            self._revisions = fresh
            self._news.set()
            self._news = asyncio.Event()

    def _look(self) -> dict[int, int]:
        close_old_connections()
        try:
            return self._read()
        finally:
            close_old_connections()


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, RevisionFeed] = WeakKeyDictionary()


async def stream(board: int | None, after: int, *, life: float = LIFE) -> AsyncIterator[str]:
    """The text of one server-sent event stream: `changed` with the revision as data, comments as heartbeats."""
    feed = _feeds.setdefault(asyncio.get_running_loop(), RevisionFeed())
    yield "retry: 2000\n\n"
    async for revision in feed.follow(board, after, life=life):
        yield ": still here\n\n" if revision is None else f"event: changed\nid: {revision}\ndata: {revision}\n\n"
