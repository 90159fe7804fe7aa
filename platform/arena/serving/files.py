"""Files as answers of an asynchronous server: read a piece at a time, in a thread, for every client.

Django's own FileResponse yields its pieces to a synchronous server only. To an asynchronous one it gives the whole file at
once, from memory, with a warning for every request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import FileResponse, HttpRequest
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StreamedFile(FileResponse):
    """A file response that an asynchronous server reads a piece at a time, too."""

    block_size = 64 * 1024  # each piece takes a turn of a thread

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces: Iterator[bytes] = iter(self)
        take = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
        while (piece := await take()) is not None:
            yield piece


class _StaticResponse(WhiteNoiseFileResponse, StreamedFile):  # type: ignore[misc]  # ships no types
    """WhiteNoise's, which sets no headers of Django's."""


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # ships no types
    """WhiteNoise, for an asynchronous server."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> FileResponse:
        """The file, or what the request's headers make of it (not modified, a range, not allowed)."""
        found = static_file.get_response(request.method, request.META)
        response = _StaticResponse(found.file or (), status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
