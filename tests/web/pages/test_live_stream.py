"""The stream that tells pages of changes: promptly, to everybody, at the cost of one query per interval."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from arena.challenges.services import bump
from arena.web import live
from arena.web.live import RevisionFeed
from tests.e2e.season import make_challenge


async def _changed(stream: AsyncIterator[bytes]) -> str:
    """Skips to the next change and returns its data."""
    async with asyncio.timeout(5):
        async for chunk in stream:
            for line in chunk.decode().splitlines():
                if line.startswith("data: "):
                    return line.removeprefix("data: ")
    raise AssertionError("the stream ended")


@pytest.mark.django_db(transaction=True)
def test_stream_says_that_a_board_changed_and_nothing_else() -> None:
    challenge = make_challenge()
    other = make_challenge("other", title="Another one")

    async def follow() -> None:
        answer = await AsyncClient().get(f"/challenges/{challenge.slug}/events/?after={challenge.revision}")
        assert answer["Content-Type"] == "text/event-stream"
        assert answer["Cache-Control"].startswith("no-cache")
        stream = aiter(answer)
        assert await anext(stream) == b"retry: 2000\n\n"
        waiting = asyncio.create_task(_changed(stream))
        await sync_to_async(bump)(other.pk)
        await asyncio.sleep(2 * live.INTERVAL)
        assert not waiting.done()
        await sync_to_async(bump)(challenge.pk)
        assert await waiting == str(challenge.revision + 1)
        answer.close()

    asyncio.run(follow())


@pytest.mark.django_db(transaction=True)
def test_page_that_missed_a_change_is_told_at_once() -> None:
    challenge = make_challenge()
    for _ in range(3):
        bump(challenge.pk)

    async def follow() -> None:
        for headers, address in (({}, "?after=1"), ({"Last-Event-ID": "2"}, "?after=3"), ({}, "?after=nonsense")):
            answer = await AsyncClient().get(f"/challenges/{challenge.slug}/events/{address}", headers=headers)
            assert await _changed(aiter(answer)) == "3"

    asyncio.run(follow())


def test_many_readers_cost_one_look_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def read() -> dict[int, int]:
        nonlocal looks
        looks += 1
        return {1: looks // 3, 2: 0}

    monkeypatch.setattr(live, "INTERVAL", 0.02)

    async def gathered() -> list[list[int | None]]:
        feed = RevisionFeed(read)

        async def one() -> list[int | None]:
            return [item async for item in feed.follow(1, 0, life=0.5)]

        return await asyncio.gather(*(one() for _ in range(50)))

    seen = asyncio.run(gathered())
    assert looks < 40
    assert all(len(items) >= 3 for items in seen)
    for items in seen:
        revisions = [item for item in items if item is not None]
        assert revisions == sorted(set(revisions))


def test_silence_is_kept_open_by_heartbeats_and_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)

    async def follow() -> list[int | None]:
        return [item async for item in RevisionFeed(lambda: {1: 7}).follow(1, 7, life=0.3)]

    beats = asyncio.run(follow())
    assert set(beats) == {None}
    assert 3 <= len(beats) <= 7


def test_feed_survives_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.02)
    answers = iter([RuntimeError("down"), RuntimeError("down"), {1: 1}])

    def read() -> dict[int, int]:
        answer = next(answers, {1: 1})
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def follow() -> list[int | None]:
        return [item async for item in RevisionFeed(read).follow(1, 0, life=0.5)]

    assert 1 in asyncio.run(follow())


def test_poller_stops_with_its_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.01)
    looks = 0

    def read() -> dict[int, int]:
        nonlocal looks
        looks += 1
        return {}

    async def follow() -> int:
        async for _ in RevisionFeed(read).follow(1, 0, life=0.1):
            pass
        await asyncio.sleep(0.05)
        before = looks
        await asyncio.sleep(0.1)
        return looks - before

    assert asyncio.run(follow()) == 0
