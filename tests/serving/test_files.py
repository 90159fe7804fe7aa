"""Files as answers of the real asynchronous server: whole, in pieces, and without a warning."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.staticfiles import finders
from django.core.asgi import get_asgi_application

import arena
from arena.serving.files import StreamedFile

pytestmark = pytest.mark.django_db
STYLE = "/static/admin/css/base.css"


def told(path: str, **headers: str) -> tuple[int, list[bytes], list[str]]:
    """Status, pieces of the body and warnings of one request to Django under ASGI."""
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "query_string": b""}
    scope["headers"] = [(b"host", b"testserver"), *((name.encode(), value.encode()) for name, value in headers.items())]

    async def ask() -> tuple[int, list[bytes]]:
        line = ApplicationCommunicator(get_asgi_application(), scope)
        await line.send_input({"type": "http.request", "body": b"", "more_body": False})
        status, pieces, more = (await line.receive_output(60))["status"], [], True
        while more:
            message = await line.receive_output(60)
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        await line.wait(60)
        return status, pieces

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        status, pieces = asyncio.run(ask())
    return status, pieces, [str(warning.message) for warning in seen if "iterator" in str(warning.message)]


def test_a_static_file_comes_whole_and_without_a_warning() -> None:
    status, pieces, warned = told(STYLE)
    assert (status, warned) == (200, [])
    assert b"".join(pieces) == Path(str(finders.find("admin/css/base.css"))).read_bytes()


def test_a_range_of_a_static_file_and_one_that_is_known_already_come_as_asked() -> None:
    status, pieces, warned = told(STYLE, range="bytes=3-9")
    assert (status, warned) == (206, [])
    assert b"".join(pieces) == Path(str(finders.find("admin/css/base.css"))).read_bytes()[3:10]
    tomorrow = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert told(STYLE, **{"if-modified-since": tomorrow}) == (304, [b""], [])


def test_a_large_file_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    """An archive of 256 MiB must not lie in the web process's memory."""
    content = bytes(range(256)) * 1024
    (tmp_path / "archive.zip").write_bytes(content)

    async def pieces() -> list[bytes]:
        response = StreamedFile((tmp_path / "archive.zip").open("rb"))
        try:
            return [piece async for piece in response]
        finally:
            response.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = asyncio.run(pieces())
    assert b"".join(found) == content
    assert max(map(len, found)) <= 64 * 1024


def test_every_answer_of_ours_that_is_a_file_is_a_streamed_one() -> None:
    for source in Path(str(arena.__path__[0])).rglob("*.py"):
        if source.name != "files.py":
            assert " FileResponse" not in source.read_text(), f"{source}: use arena.serving.files.StreamedFile"
