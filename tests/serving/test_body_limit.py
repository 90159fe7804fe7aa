"""Large bodies are taken at the addresses of uploads alone, from people who are known; of any other nothing is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from arena.accounts.models import User
from arena.accounts.services import make_token
from arena.asgi import application
from arena.serving.body_limit import FORM_BYTES, BodyLimit
from tests.web.backend_support import person, small_challenge

pytestmark = pytest.mark.django_db(transaction=True)  # the log-in is read in another thread
MIB = 1024 * 1024
PAGE, API = "/challenges/mnist-linf/submit/", "/api/v1/submissions"


@pytest.fixture(autouse=True)
def alice() -> User:
    cache.clear()
    small_challenge()
    return person("alice")


def with_session(user: User) -> list[tuple[bytes, bytes]]:
    browser = Client()
    browser.force_login(user)
    return [(b"cookie", f"sessionid={browser.cookies['sessionid'].value}".encode())]


def with_token(user: User) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {make_token(user=user, name='test').secret}".encode())]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return  # as Django does when the client went away
        body += message["body"]
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Answer:
    """What came back, and how many bytes of the body were taken in."""

    def __init__(self, sent: list[MutableMapping[str, Any]], taken: int) -> None:
        self.status, self.headers = sent[0]["status"], dict(sent[0]["headers"])
        self.body, self.taken = b"".join(message.get("body", b"") for message in sent[1:]), taken


def ask(
    path: str,
    chunks: list[bytes],
    *,
    declared: int | None,
    headers: list[tuple[bytes, bytes]] = [],  # noqa: B006 - never changed
    app: Any = None,
    method: str = "POST",
) -> Answer:
    sent: list[MutableMapping[str, Any]] = []
    left, taken = list(chunks), 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal taken
        chunk = left.pop(0) if left else b""
        taken += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    length = [] if declared is None else [(b"content-length", str(declared).encode())]
    form = [(b"host", b"testserver"), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "path": path, "method": method, "headers": [*form, *length, *headers], "query_string": b""}
    asyncio.run((app or application)(scope, receive, send))
    return Answer(sent, taken)


def views_of(patterns: Any, prefix: str = "") -> list[tuple[str, bool]]:
    """(address, whether its view takes uploads) of every address of the site."""
    found = []
    for each in patterns:
        where = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            found += views_of(each.url_patterns, where)
        elif isinstance(each, URLPattern):
            found.append((where, getattr(each.callback, "takes_uploads", False)))
    return found


def test_two_addresses_take_uploads() -> None:
    taking = [where for where, takes in views_of(get_resolver().url_patterns) if takes]
    assert taking == ["api/v1/submissions", "challenges/<slug:slug>/submit/"]


@pytest.mark.parametrize("path", ["/log-in/", "/sign-up/", "/admin/login/", "/teams/", "/nowhere", "/api/v1/me", API, PAGE])
@pytest.mark.parametrize("declared", [250 * MIB, None])
def test_of_a_large_body_from_a_stranger_nothing_is_stored(path: str, declared: int | None) -> None:
    answer = ask(path, [bytes(MIB)] * 250, declared=declared)
    assert answer.status == (401 if path in (API, PAGE) else 413)
    assert answer.taken == (0 if declared else MIB), "one chunk tells that an undeclared body is too long"
    if path.startswith("/api/"):
        assert set(json.loads(answer.body)) == {"what", "where", "help"}


@pytest.mark.parametrize("path", ["/log-in/", "/teams/", "/account/tokens/", "/api/v1/me", "/admin/"])
def test_a_known_person_sends_large_bodies_to_uploads_alone(alice: User, path: str) -> None:
    for headers in (with_session(alice), with_token(alice)):
        assert (ask(path, [bytes(MIB)], declared=MIB, headers=headers).status) == 413
        assert ask(path, [bytes(MIB)], declared=MIB, headers=headers).taken == 0


@pytest.mark.parametrize("path", [API, PAGE])
def test_a_known_persons_upload_is_let_through_up_to_its_limit(alice: User, path: str) -> None:
    app = BodyLimit(echo, limit=2 * MIB)
    for headers in (with_session(alice), with_token(alice)):
        for declared in (2 * MIB, None):
            answer = ask(path, [bytes(MIB)] * 2, declared=declared, headers=headers, app=app)
            assert (answer.status, len(answer.body)) == (200, 2 * MIB)
        too_large = ask(path, [bytes(MIB)] * 3, declared=3 * MIB, headers=headers, app=app)
        assert (too_large.status, too_large.taken) == (413, 0)
        assert b"larger than 2 MiB" in too_large.body
        assert ask(path, [bytes(MIB)] * 9, declared=None, headers=headers, app=app).status == 413


@pytest.mark.parametrize(
    "headers",
    [[(b"cookie", b"sessionid=made-up")], [(b"authorization", b"Bearer redoubt_x")], [(b"authorization", b"Basic eA==")]],
)
def test_a_made_up_session_or_token_names_nobody(headers: list[tuple[bytes, bytes]]) -> None:
    assert (ask(API, [bytes(MIB)], declared=MIB, headers=headers).status) == 401


def test_a_disabled_persons_session_and_token_let_nothing_through(alice: User) -> None:
    known = (with_session(alice), with_token(alice))
    User.objects.update(is_active=False)
    assert [ask(API, [bytes(MIB)], declared=MIB, headers=headers).status for headers in known] == [401, 401]


def test_who_made_too_many_uploads_is_refused_before_the_next_is_read(alice: User, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "uploads of one person": (0, 3600)}
    answer = ask(API, [bytes(MIB)], declared=MIB, headers=with_token(alice))
    assert (answer.status, answer.taken) == (429, 0)
    assert int(answer.headers[b"retry-after"]) > 0


def test_wrong_tokens_of_large_bodies_are_stopped_and_right_ones_are_not(alice: User, settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "wrong tokens from one address": (2, 3600)}
    wrong = [(b"authorization", b"Bearer redoubt_x")]
    assert [ask(API, [], declared=MIB, headers=wrong).status for _ in range(3)] == [401, 401, 429]
    app = BodyLimit(echo, limit=2 * MIB)
    assert ask(API, [bytes(MIB)], declared=MIB, headers=with_token(alice), app=app).status == 200


def test_a_form_of_ordinary_size_reaches_its_page() -> None:
    app = BodyLimit(echo, limit=2 * MIB)
    for declared in (FORM_BYTES, None):
        assert ask("/log-in/", [bytes(FORM_BYTES)], declared=declared, app=app).status == 200


def test_other_methods_than_post_upload_nothing(alice: User) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert ask(API, [bytes(MIB)], declared=MIB, headers=with_token(alice), method=method).status == 413


def test_one_person_sends_few_large_bodies_at_once_and_others_are_not_kept_waiting(alice: User) -> None:
    """Each of them is a file until its request ends; what ended, however it did, makes room."""
    bob = person("bob")
    limited = BodyLimit(held_open, limit=MIB)

    def scope(user: User) -> dict[str, Any]:
        length = [(b"host", b"testserver"), (b"content-length", str(FORM_BYTES + 1).encode())]
        return {"type": "http", "path": API, "method": "POST", "headers": [*length, *with_token(user)], "query_string": b""}

    scopes = [scope(user) for user in (alice, alice, alice, bob, alice)]

    async def crowd() -> list[int]:
        statuses, leave = [0] * 5, asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            await leave.wait()
            return {"type": "http.disconnect"}

        def sender(number: int) -> Any:
            async def send(message: MutableMapping[str, Any]) -> None:
                statuses[number] = message.get("status", statuses[number])

            return send

        open_ones = [asyncio.ensure_future(limited(scopes[number], receive, sender(number))) for number in (0, 1)]
        while limited._open[alice.pk] < 2:
            await asyncio.sleep(0.01)
        await limited(scopes[2], receive, sender(2))
        others = asyncio.ensure_future(limited(scopes[3], receive, sender(3)))
        while not limited._open[bob.pk]:
            await asyncio.sleep(0.01)
        leave.set()
        await asyncio.gather(*open_ones, others)
        await limited(scopes[4], receive, sender(4))
        return statuses

    assert asyncio.run(crowd()) == [200, 200, 429, 200, 200]
    assert not limited._open


async def held_open(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
