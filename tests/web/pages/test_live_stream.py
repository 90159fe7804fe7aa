"""The stream that tells pages of changes: promptly, to everybody, at the cost of one query per interval."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from arena.accounts.models import User
from arena.asgi import application
from arena.challenges.models import Challenge
from arena.challenges.queries import Revision
from arena.challenges.services import bump
from arena.web import live
from arena.web.live import RevisionFeed
from arena.web.streams import HAND_OVER
from tests.e2e.season import make_challenge


class Reader:
    """A browser at the ASGI application, without a network between them."""

    def __init__(self, address: str = "/events/", **headers: str) -> None:
        sent = [(name.encode(), value.encode()) for name, value in {"host": "testserver", **headers}.items()]
        scope = {"type": "http", "method": "GET", "path": address, "query_string": b"", "headers": sent}
        self._line = ApplicationCommunicator(application, scope)
        self.headers: dict[str, str] = {}
        self.status = 0

    async def open(self) -> None:
        await self._line.send_input({"type": "http.request", "body": b""})
        start = await self._line.receive_output(10)
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}

    async def text(self) -> str:
        """The next piece of the answer."""
        return str((await self._line.receive_output(10))["body"].decode())

    async def changed(self) -> dict[str, int]:
        """Skips to the next change and returns it."""
        while True:
            for line in (await self.text()).splitlines():
                if line.startswith("data: "):
                    return dict(json.loads(line.removeprefix("data: ")))

    async def leave(self) -> None:
        await self._line.send_input({"type": "http.disconnect"})
        await self._line.wait(10)


@pytest.mark.django_db(transaction=True)
def test_stream_says_which_boards_changed_and_nothing_else() -> None:
    challenge, other = make_challenge(), make_challenge("other", title="Another one")
    both = challenge.revision + other.revision

    async def follow() -> None:
        reader = Reader()
        await reader.open()
        assert reader.headers["content-type"] == "text/event-stream"
        assert reader.headers["cache-control"].startswith("no-cache")
        assert "script-src 'self'" in reader.headers["content-security-policy"], "an answer of Django's, with all its headers"
        assert HAND_OVER.lower() not in reader.headers
        assert await reader.text() == "retry: 2000\n\n"
        news = {str(challenge.pk): challenge.revision, str(other.pk): other.revision, "all": both}
        assert await reader.changed() == news, "a page that missed a change is told at once"
        await sync_to_async(bump)(other.pk)
        assert await reader.changed() == {str(other.pk): other.revision + 1, "all": both + 1}
        await reader.leave()

    asyncio.run(follow())


@pytest.mark.django_db(transaction=True)
def test_unpublished_boards_move_for_staff_only() -> None:
    hidden = make_challenge()
    Challenge.objects.filter(pk=hidden.pk).update(published=False)
    client = Client()
    client.force_login(User.objects.create_superuser("root", "root@example.org", "a long password"))

    async def heard(**headers: str) -> dict[str, int]:
        reader = Reader(**headers)
        await reader.open()
        news = await reader.changed()
        await reader.leave()
        return news

    assert asyncio.run(heard()) == {"all": 0}
    assert str(hidden.pk) in asyncio.run(heard(cookie=f"sessionid={client.cookies['sessionid'].value}"))


@pytest.mark.django_db(transaction=True)
def test_stream_holds_no_thread_and_ends_when_its_reader_leaves() -> None:
    async def follow() -> None:
        readers = [Reader() for _ in range(20)]
        for reader in readers:
            await reader.open()
            await reader.changed()
        assert threading.active_count() - before < 5
        for reader in readers:
            await reader.leave()

    before = threading.active_count()
    asyncio.run(follow())


@pytest.mark.django_db(transaction=True)
def test_one_stream_too_many_is_asked_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_limit", 1)

    async def follow() -> None:
        first, second = Reader(), Reader()
        await first.open()
        await second.open()
        assert (second.status, second.headers["retry-after"]) == (503, "30")
        await first.leave()
        third = Reader()
        await third.open()
        assert third.status == 200
        await third.leave()

    asyncio.run(follow())


def test_many_readers_cost_one_look_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def read() -> dict[int, Revision]:
        nonlocal looks
        looks += 1
        return {1: Revision(looks // 3, True), 2: Revision(0, True)}

    monkeypatch.setattr(live, "INTERVAL", 0.02)

    async def gathered() -> list[list[dict[str, int]]]:
        feed = RevisionFeed(read)

        async def one() -> list[dict[str, int]]:
            seen: list[dict[str, int]] = []
            async for news in feed.follow(life=120):
                seen.append(news)
                if len(seen) == 3:
                    break
            return seen

        return await asyncio.gather(*(one() for _ in range(50)))

    seen = asyncio.run(gathered())
    assert looks < 40
    for items in seen:
        revisions = [news["1"] for news in items if "1" in news]
        assert revisions == sorted(set(revisions))


def test_silence_is_kept_open_by_heartbeats_and_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)

    async def follow(life: float, most: int) -> list[dict[str, int]]:
        seen: list[dict[str, int]] = []
        async for news in RevisionFeed(lambda: {1: Revision(7, True)}).follow(life=life):
            seen.append(news)
            if len(seen) == most:
                break
        return seen

    begun = time.monotonic()
    assert asyncio.run(follow(120, most=4)) == [{"1": 7, "all": 7}, {}, {}, {}]
    assert time.monotonic() - begun >= 3 * 0.05 - 0.01, "a beat comes no sooner than it must"
    assert len(asyncio.run(follow(0.3, most=1000))) <= 8, "it ended by itself"


def test_feed_survives_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.02)
    answers = iter([RuntimeError("down"), RuntimeError("down"), {1: Revision(1, True)}])

    def read() -> dict[int, Revision]:
        answer = next(answers, {1: Revision(1, True)})
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def follow() -> dict[str, int]:
        async for news in RevisionFeed(read).follow(life=120):
            if news:
                return news
        return {}

    assert asyncio.run(follow()) == {"1": 1, "all": 1}


def test_poller_stops_with_its_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.01)
    looks = 0

    def read() -> dict[int, Revision]:
        nonlocal looks
        looks += 1
        return {}

    async def follow() -> int:
        async for _ in RevisionFeed(read).follow(life=0.1):
            pass
        await asyncio.sleep(0.05)
        before = looks
        await asyncio.sleep(0.1)
        return looks - before

    assert asyncio.run(follow()) == 0
