"""The site's own application, which also tells at /open-streams how many streams of events it has open."""

from __future__ import annotations

from arena.asgi import application as site
from arena.serving.body_limit import Message, Receive, Scope, Send

_open: set[int] = set()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI: everything is the site's, but the one address."""

    async def watched(message: Message) -> None:
        if (b"content-type", b"text/event-stream") in [(name.lower(), value) for name, value in message.get("headers", ())]:
            _open.add(id(scope))
        await send(message)

    if scope["type"] == "http" and scope["path"] == "/open-streams":
        body = str(len(_open)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
        return
    try:
        await site(scope, receive, watched)
    finally:
        _open.discard(id(scope))
