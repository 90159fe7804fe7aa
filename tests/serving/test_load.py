"""A crowd of readers in production settings: the site stays up, PostgreSQL keeps connections for the workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.web.production_support import BEHIND_TLS, Production, installation, migrated, needs_services

pytestmark = needs_services
READERS = 200
STREAMS = 100
POOL = 6
PAGES = ("/", "/challenges/mnist-linf/", "/api/v1/challenges", "/teams/")
CONNECTIONS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def template() -> Iterator[Production]:
    with migrated() as made:
        yield made


@pytest.fixture
def production(tmp_path: Path, template: Production) -> Iterator[Production]:
    with installation(tmp_path, template) as made:
        yield made


async def _read(client: httpx.AsyncClient, address: str) -> int:
    return (await client.get(address)).status_code


async def _follow(client: httpx.AsyncClient, opened: asyncio.Semaphore, enough: asyncio.Event) -> bool:
    """Opens a stream and keeps it until there are enough; whether it told of a change."""
    async with client.stream("GET", "/events/") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                opened.release()
                await enough.wait()
                return True
    return False


async def _crowd(url: str, production: Production, seen: list[int]) -> tuple[Counter[int], int]:
    """The statuses that readers got while all the streams were open, and how many of those told something."""
    limits = httpx.Limits(max_connections=READERS + STREAMS)
    async with httpx.AsyncClient(base_url=url, headers=BEHIND_TLS, timeout=120, limits=limits) as client:
        opened, enough = asyncio.Semaphore(0), asyncio.Event()
        streams = [asyncio.create_task(_follow(client, opened, enough)) for _ in range(STREAMS)]
        for _ in range(STREAMS):
            await opened.acquire()
        await asyncio.sleep(1)  # longer than one look at the boards
        seen.append(await asyncio.to_thread(_connections, production))
        readers = [asyncio.create_task(_read(client, PAGES[number % len(PAGES)])) for number in range(READERS)]
        while not all(reader.done() for reader in readers):
            seen.append(await asyncio.to_thread(_connections, production))
            await asyncio.sleep(0.2)
        enough.set()
        return Counter(await asyncio.gather(*readers)), sum(await asyncio.gather(*streams))


def _connections(production: Production) -> int:
    return int(production.read(CONNECTIONS)[0][0])


def test_two_hundred_readers_and_a_hundred_streams_leave_connections_to_the_workers(production: Production) -> None:
    production.enter()
    url = production.start_web(DATABASE_POOL=str(POOL), REDOUBT_REQUESTS=str(POOL - 2), REDOUBT_WAIT_SECONDS="100")
    seen: list[int] = []
    statuses, told = asyncio.run(_crowd(url, production, seen))
    assert statuses == {200: READERS}
    assert told == STREAMS
    assert seen[0] <= 2, "open streams hold no connection: only the one look at the boards may have one"
    assert max(seen) <= POOL
    production.start_celery()
    production.start_sweeper()
    production.wait_for(production.completed)
    production.assert_undisturbed_verdict()
    assert httpx.get(url, headers=BEHIND_TLS, timeout=60).status_code == 200


def test_who_cannot_be_served_soon_hears_when_to_try_again(production: Production) -> None:
    production.enter()
    url = production.start_web(REDOUBT_REQUESTS="1", REDOUBT_WAIT_SECONDS="0.01", REDOUBT_OPEN_REQUESTS="20")

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, headers=BEHIND_TLS, timeout=120) as client:
            return await asyncio.gather(*(client.get(PAGES[number % len(PAGES)]) for number in range(60)))

    answers = asyncio.run(crowd())
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert {answer.status_code for answer in answers} <= {200, 503}
    for answer in refused:
        assert int(answer.headers["Retry-After"]) > 0
        assert "again" in answer.text
        assert (answer.headers["Content-Type"] == "application/json") == answer.request.url.path.startswith("/api/")
    until = time.monotonic() + 30
    while httpx.get(url, headers=BEHIND_TLS, timeout=60).status_code != 200:
        assert time.monotonic() < until
