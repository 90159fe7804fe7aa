"""Rate limits at every front door: by the address that asks, which nobody can make up, so that no one locks another out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory

from arena.accounts.models import User
from arena.accounts.rates import client_address
from arena.accounts.services import make_token
from arena.settings.networks import read_networks
from tests.web.backend_support import PASSWORD, person

pytestmark = pytest.mark.django_db
PROXY = "10.0.0.1"
VICTIM, ATTACKER = "198.51.100.7", "203.0.113.9"
Rates = Callable[..., None]


@pytest.fixture
def rates(settings: Any) -> Rates:
    """Sets rates of these names, as how often; one proxy stands in front."""
    cache.clear()
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}

    def change(**times: int) -> None:
        assert set(times) <= set(settings.REDOUBT_RATES)
        settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, **{name: (often, 3600) for name, often in times.items()}}

    return change


def through_proxy(address: str, *, claimed: str = "") -> dict[str, str]:
    """What the proxy makes of a request from `address`. claimed: what the client itself wrote into the header."""
    return {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": ", ".join(filter(None, [claimed, address]))}


def log_in(
    address: str, *, name: str = "alice", password: str = PASSWORD, claimed: str = "", client: Client | None = None
) -> Any:
    form = {"identifier": name, "password": password}
    return Client().post("/log-in/", form, **through_proxy(address, claimed=claimed))  # type: ignore[arg-type]


def let_in(answer: HttpResponse) -> bool:
    if answer.status_code == 302:
        return True
    assert b"more than" in answer.content or b"do not match" in answer.content
    return False


def test_wrong_guesses_from_one_address_keep_nobody_else_out(rates: Rates) -> None:
    rates(**{"log-in from one address": 1000, "log-in of one person from one address": 3})
    person("alice")
    for _ in range(20):
        log_in(ATTACKER, password="wrong")
    assert not let_in(log_in(ATTACKER)), "even the right password comes too late"
    assert let_in(log_in(VICTIM)), "Alice herself is not kept out"


def test_guesses_from_many_addresses_do_not_keep_the_person_out(rates: Rates) -> None:
    rates(**{"log-in from one address": 5, "log-in of one person from one address": 5})
    person("alice")
    for number in range(30):
        log_in(f"203.0.113.{number}", password="wrong")
    assert let_in(log_in(VICTIM))


def test_user_name_email_and_case_are_one_person(rates: Rates) -> None:
    rates(**{"log-in of one person from one address": 3})
    person("alice")
    for name in ("alice", "ALICE", "alice@example.org"):
        assert not let_in(log_in(ATTACKER, name=name, password="wrong"))
    assert b"more than 3 times" in log_in(ATTACKER, name="Alice@Example.org").content


def test_guessing_many_peoples_passwords_from_one_address_is_stopped(rates: Rates) -> None:
    rates(**{"log-in from one address": 5})
    person("alice")
    for number in range(5):
        log_in(ATTACKER, name=f"user{number}", password="wrong")
    assert not let_in(log_in(ATTACKER))
    assert let_in(log_in(VICTIM)), "the others behind the same proxy have counts of their own"


def test_a_made_up_forwarded_address_buys_no_more_tries(rates: Rates) -> None:
    rates(**{"log-in of one person from one address": 3})
    person("alice")
    answers = [log_in(ATTACKER, password="wrong", claimed=f"192.0.2.{number}") for number in range(5)]
    assert [b"more than 3 times" in answer.content for answer in answers] == [False, False, False, True, True]


def test_a_made_up_forwarded_address_uses_up_nobody_elses_tries(rates: Rates) -> None:
    rates(**{"log-in from one address": 3})
    person("alice")
    for _ in range(10):
        log_in(ATTACKER, password="wrong", claimed=VICTIM)
    assert let_in(log_in(VICTIM))


def test_signing_up_is_limited_by_the_address_behind_the_proxy(rates: Rates) -> None:
    rates(**{"sign-up from one address": 1})
    answers = []
    for number, address in enumerate((ATTACKER, ATTACKER, VICTIM)):
        form = {"username": f"user{number}", "email": f"user{number}@example.org", "password": PASSWORD}
        answers.append(Client().post("/sign-up/", form, **through_proxy(address)).status_code)  # type: ignore[arg-type]
    assert answers == [302, 200, 302]


def test_the_admin_has_no_log_in_of_its_own(rates: Rates, client: Client) -> None:
    User.objects.filter(pk=person("alice").pk).update(is_staff=True, is_superuser=True)
    wanted = client.get("/admin/evaluations/evaluation/")
    page = client.get(wanted["Location"])
    assert page["Location"] == "/log-in/?next=/admin/evaluations/evaluation/"
    form = {"username": "alice", "password": PASSWORD, "identifier": "alice"}
    assert client.post("/admin/login/", form).status_code == 405
    assert client.get("/admin/").status_code == 302, "nobody was logged in"
    entered = client.post(page["Location"], {"identifier": "alice", "password": PASSWORD})
    assert entered["Location"] == "/admin/evaluations/evaluation/"
    assert client.get(entered["Location"]).status_code == 200


def test_strangers_calls_of_the_api_are_counted_by_address(rates: Rates) -> None:
    rates(**{"API from one address": 2})

    def call(address: str, claimed: str) -> int:
        return Client().get("/api/v1/challenges", **through_proxy(address, claimed=claimed)).status_code  # type: ignore[arg-type]

    assert [call(ATTACKER, f"192.0.2.{number}") for number in range(4)] == [200, 200, 429, 429]
    assert call(VICTIM, "") == 200


def test_a_persons_calls_of_the_api_are_counted_wherever_they_come_from(rates: Rates) -> None:
    rates(**{"API of one person": 2, "API from one address": 0})
    secret = make_token(user=person("alice"), name="test").secret
    other = make_token(user=person("bob"), name="test").secret

    def call(secret: str, address: str) -> Any:
        headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}", **through_proxy(address)}
        return Client().get("/api/v1/me", **headers)  # type: ignore[arg-type]

    assert [call(secret, address).status_code for address in (ATTACKER, VICTIM, ATTACKER)] == [200, 200, 429]
    assert 0 < int(call(secret, VICTIM)["Retry-After"]) <= 3600
    assert call(other, ATTACKER).status_code == 200


def test_wrong_tokens_from_one_address_are_stopped_and_right_ones_are_not(rates: Rates) -> None:
    rates(**{"wrong tokens from one address": 2})
    secret = make_token(user=person("alice"), name="test").secret

    def call(secret: str) -> int:
        headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}", **through_proxy(ATTACKER)}
        return Client().get("/api/v1/me", **headers).status_code  # type: ignore[arg-type]

    assert [call("wrong") for _ in range(4)] == [401, 401, 429, 429]
    assert call(secret) == 200


CHAIN = "6.6.6.6, 203.0.113.1, 198.51.100.2"


@pytest.mark.parametrize(
    ("proxies", "networks", "peer", "forwarded", "address"),
    [
        (0, None, PROXY, CHAIN, PROXY),
        (1, None, PROXY, CHAIN, "198.51.100.2"),
        (2, None, PROXY, CHAIN, "203.0.113.1"),
        (2, None, PROXY, "6.6.6.6", PROXY),  # past one of the two proxies: nothing in it is our own
        (1, None, PROXY, "", PROXY),
        (1, ["10.0.0.0/8"], PROXY, CHAIN, "198.51.100.2"),
        (1, ["10.0.0.1"], PROXY, CHAIN, "198.51.100.2"),
        (1, ["10.0.0.0/8"], "192.0.2.4", CHAIN, "192.0.2.4"),  # straight to the site, past the proxy
        (1, [], PROXY, CHAIN, PROXY),
        (1, None, PROXY, "198.51.100.2:4711", "198.51.100.2"),
        (1, None, PROXY, "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        (1, None, PROXY, "2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        (1, None, PROXY, "::ffff:198.51.100.2", "198.51.100.2"),
        (1, None, PROXY, "unknown", PROXY),
        (0, None, "::1", "", "::/64"),
    ],
)
def test_only_our_own_proxies_are_believed_about_an_address(
    settings: Any, proxies: int, networks: list[str] | None, peer: str, forwarded: str, address: str
) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    settings.REDOUBT_PROXIES = networks
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded} if forwarded else {}, REMOTE_ADDR=peer)
    assert client_address(request) == address


def test_networks_of_proxies_are_read_with_spaces_and_refused_when_the_site_starts() -> None:
    assert read_networks("REDOUBT_PROXIES", ["10.0.0.1/8", " ::1"]) == ["10.0.0.0/8", "::1/128"]
    assert read_networks("REDOUBT_PROXIES", None) is None
    with pytest.raises(ImproperlyConfigured, match="REDOUBT_PROXIES: 'proxy' does not appear to be an IPv4 or IPv6 network"):
        read_networks("REDOUBT_PROXIES", ["proxy"])
