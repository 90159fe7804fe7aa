"""One address follows the boards with a share of the streams, and leaves the others theirs."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from arena.web.streams import HAND_OVER, SHARES, EventStreams


async def admitted(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(HAND_OVER.encode(), b'{"staff": false}')]})
    await send({"type": "http.response.body", "body": b""})


def scope(address: str) -> dict[str, Any]:
    return {"type": "http", "path": "/live/", "method": "GET", "headers": [], "query_string": b"", "client": (address, 5000)}


def test_one_address_has_a_share_of_the_streams_and_what_ends_makes_room() -> None:
    streams = EventStreams(admitted, limit=2 * SHARES)

    async def crowd() -> list[int]:
        statuses: list[int] = []
        leave = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def come(address: str) -> asyncio.Task[None]:
            before = len(statuses)
            task = asyncio.ensure_future(streams(scope(address), receive, send))
            while len(statuses) == before:
                await asyncio.sleep(0)
            return task

        tasks = [await come("192.0.2.1") for _ in range(3)]
        tasks.append(await come("192.0.2.2"))
        leave.set()
        await asyncio.gather(*tasks)
        await (await come("192.0.2.1"))
        return statuses

    assert asyncio.run(crowd()) == [200, 200, 503, 200, 200]
    assert not streams._each
