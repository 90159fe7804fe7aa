"""Refuses large request bodies before a byte of them is stored: Django itself would first save all of a body to disk.

Large ones are taken at the addresses of uploads alone, from people who are known. The log-in is read from the headers before
the body is asked for.
"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, close_old_connections
from django.urls import Resolver404, resolve

from arena.accounts.models import User
from arena.accounts.queries import user_of_token
from arena.accounts.rates import WRONG_TOKENS, RateLimited, check, client_address, hit
from arena.serving.storage_faults import NOTHING_STORED, STORAGE_FAILS, site_fault

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
View = TypeVar("View", bound=Callable[..., Any])

_log = logging.getLogger(__name__)
FORM_BYTES = 64 * 1024  # of any request but an upload, and of the other fields of an upload's form
UPLOAD_RATE = "uploads of one person"
AT_ONCE = 2  # large bodies of one person that this process takes at the same time: each is a file until its end


@dataclass(eq=False)  # not frozen: an exception is given its traceback
class Refusal(Exception):
    """Why a body is not taken."""

    status: int
    what: str
    help: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def takes_uploads(view: View) -> View:
    """Marks a view at whose addresses people who are logged in may send a body larger than FORM_BYTES."""
    view.takes_uploads = True  # type: ignore[attr-defined]
    return view


class BodyLimit:
    """ASGI middleware: a body over FORM_BYTES is let through to views that take uploads alone, up to `limit` bytes.

    There it must come from people who are logged in, have uploads left and send few at once. The answer is 401, 413 or 429
    otherwise, and 503 where the site can store nothing.

    A declared length is judged at once, an undeclared one where the body passes FORM_BYTES.
    """

    def __init__(self, app: App, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._open: Counter[int] = Counter()  # person -> large bodies that are taken now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed, received, answered = FORM_BYTES, 0, False
        refusal: Refusal | None = None
        person: int | None = None

        async def judge(size: int) -> None:
            nonlocal allowed, person
            if size <= allowed:
                return
            if person is None and _is_upload(scope):
                person = self._opened(await sync_to_async(_check_person)(scope))
                allowed = self._limit
            if size > allowed:
                raise self._too_large(allowed)

        async def counted() -> Message:
            nonlocal received, refusal
            if refusal is None:
                message = await receive()
                received += len(message.get("body", b""))
                try:
                    await judge(received)
                except Refusal as error:
                    refusal = error
            return message if refusal is None else {"type": "http.disconnect"}

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await judge(_declared_length(scope))
            await self._app(scope, counted, noted)
        except Refusal as error:
            await _refuse(error, scope, send)
            return
        finally:
            self._closed(person)
        if refusal is not None and not answered:
            await _refuse(refusal, scope, send)

    def _opened(self, person: int) -> int:
        """Counts a large body of this person, who is returned. Raises Refusal where they send enough already."""
        if self._open[person] >= AT_ONCE:
            help = "Wait until one of them has arrived."
            raise Refusal(429, f"You are sending {AT_ONCE} uploads already.", help, ((b"retry-after", b"10"),))
        self._open[person] += 1
        return person

    def _closed(self, person: int | None) -> None:
        if person is not None:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]

    def _too_large(self, allowed: int) -> Refusal:
        if allowed == self._limit:
            size = f"{self._limit // 1024**2} MiB"
            return Refusal(413, f"The upload is larger than {size}.", "Submit smaller weights, for instance in half precision.")
        what = f"The request is larger than {FORM_BYTES // 1024} KiB, the most that this address accepts."
        return Refusal(413, what, "Upload archives with a challenge's submission form or by POST /api/v1/submissions.")


def _is_upload(scope: Scope) -> bool:
    try:
        view = resolve(scope["path"]).func
    except Resolver404:
        return False
    return scope["method"] == "POST" and getattr(view, "takes_uploads", False)


def _check_person(scope: Scope) -> int:
    """Whom the headers name, by id. Raises Refusal where it is nobody, or somebody who made too many tries."""
    close_old_connections()
    try:
        person = _person(scope)
        if person is None:
            help = "Log in, or send a token from your account page, and upload again."
            raise Refusal(401, "Only people who are logged in may upload.", help, ((b"www-authenticate", b"Bearer"),))
        check(rate=UPLOAD_RATE, key=str(person.pk))
        return person.pk
    except RateLimited as error:
        retry = (b"retry-after", str(error.seconds).encode())
        raise Refusal(429, error.what, error.help, (retry,)) from error
    except (OSError, DatabaseError) as error:
        if site_fault(error) is None:
            raise
        _log.error("the site's storage fails", exc_info=error)
        raise Refusal(503, STORAGE_FAILS, NOTHING_STORED) from error
    finally:
        close_old_connections()


def _person(scope: Scope) -> User | None:
    """Whose token or session the headers hold; the body is not looked at. Raises RateLimited for too many wrong tokens."""
    request = ASGIRequest(scope, io.BytesIO())
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        found = user_of_token(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None:  # counted as the API counts it: this is no door without a limit
            hit(rate=WRONG_TOKENS, key=client_address(request))
        return found
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    person = get_user(request)
    return person if isinstance(person, User) else None


async def _refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    api = scope["path"].startswith("/api/")
    table = {"what": refusal.what, "where": "archive", "help": refusal.help}
    body = (json.dumps(table) if api else f"{refusal.what} {refusal.help}\n").encode()
    kind = b"application/json" if api else b"text/plain; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": [*headers, *refusal.headers]})
    await send({"type": "http.response.body", "body": body})


def _declared_length(scope: Scope) -> int:
    """The Content-Length header; 0 when there is none (the body is then counted as it comes)."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
