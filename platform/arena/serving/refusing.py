"""The answer of a site that has too much to do: 503, with when to try again."""

from __future__ import annotations

import json

from arena.serving.body_limit import Scope, Send


def busy(path: str, what: str, *, seconds: int) -> tuple[str, bytes]:
    """Content type and body of the refusal: JSON like every error of the API, otherwise a line of text."""
    help = f"Try again in {seconds} seconds."
    if path.startswith("/api/"):
        return "application/json", json.dumps({"what": what, "where": "server", "help": help}).encode()
    return "text/plain; charset=utf-8", f"{what} {help}\n".encode()


async def refuse(scope: Scope, send: Send, what: str, *, seconds: int) -> None:
    """Answers a request that Django never sees."""
    kind, body = busy(scope["path"], what, seconds=seconds)
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(b"retry-after", str(seconds).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
