"""People, teams and tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.http import Http404
from django.utils import timezone

from arena.accounts import services
from arena.accounts.access import get_own_team
from arena.accounts.models import ApiToken, Team, User
from arena.accounts.queries import teams_of, user_of_token
from arena.accounts.rates import RateLimited
from evaluator.errors import InputError
from tests.web.backend_support import PASSWORD, person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_earlier_tries() -> None:
    cache.clear()


def sign_up(**changes: str) -> User:
    return services.sign_up(
        **{"username": "carol", "email": "c@example.org", "password": PASSWORD, "address": "::1", **changes}
    )


def test_everyone_gets_a_personal_team_at_sign_up() -> None:
    alice = person("alice")
    [team] = teams_of(alice)
    assert (team.name, team.personal) == ("alice", True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "a"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "a@example.org"}, "username"),
        ({"username": "ALICE"}, "username"),
        ({"email": "nobody"}, "email"),
        ({"email": "Alice@Example.org"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
    ],
)
def test_a_wrong_sign_up_names_the_field_and_makes_nothing(change: dict[str, str], field: str) -> None:
    person("alice")
    with pytest.raises(InputError) as caught:
        sign_up(**change)
    assert caught.value.where == field
    assert User.objects.count() == Team.objects.count() == 1


def test_people_log_in_by_user_name_or_email_address() -> None:
    alice = person("alice")
    for identifier in ("alice", "alice@example.org", "Alice@Example.ORG"):
        assert services.check_log_in(identifier=identifier, password=PASSWORD, address="::1") == alice


def test_an_unknown_name_and_a_wrong_password_look_the_same() -> None:
    person("alice")
    answers = set()
    for identifier in ("alice", "nobody", "alice@example.org", "nobody@example.org"):
        with pytest.raises(InputError) as caught:
            services.check_log_in(identifier=identifier, password="wrong", address="::1")
        answers.add(str(caught.value))
    assert len(answers) == 1


def test_guessing_a_password_is_stopped_even_when_the_right_one_comes_last(settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "log-in of one person from one address": (3, 300)}
    person("alice")
    for _ in range(3):
        with pytest.raises(InputError):
            services.check_log_in(identifier="alice", password="wrong", address="203.0.113.9")
    with pytest.raises(RateLimited) as caught:
        services.check_log_in(identifier="ALICE", password=PASSWORD, address="203.0.113.9")
    assert 0 < caught.value.seconds <= 300
    services.check_log_in(identifier="alice", password=PASSWORD, address="198.51.100.7")


def test_signing_up_in_a_row_is_stopped(settings) -> None:  # type: ignore[no-untyped-def]
    settings.REDOUBT_RATES = {**settings.REDOUBT_RATES, "sign-up from one address": (1, 3600)}
    sign_up()
    with pytest.raises(RateLimited):
        sign_up(username="dave", email="d@example.org")


def test_only_the_hash_of_a_token_is_stored() -> None:
    made = services.make_token(user=person(), name="laptop")
    stored = ApiToken.objects.values().get()
    assert made.secret not in str(stored)
    assert made.secret.startswith(stored["prefix"])
    assert len(stored["prefix"]) < 14


def test_a_token_speaks_for_its_owner_until_it_is_revoked() -> None:
    alice, bob = person("alice"), person("bob")
    made = services.make_token(user=alice, name="laptop")
    assert user_of_token(made.secret) == alice
    assert user_of_token(made.token.digest) is None
    assert not services.revoke_token(user=bob, token_id=made.token.pk), "Bob cannot revoke Alice's token"
    assert services.revoke_token(user=alice, token_id=made.token.pk)
    assert user_of_token(made.secret) is None


def test_a_disabled_accounts_token_is_worth_nothing() -> None:
    alice = person()
    made = services.make_token(user=alice, name="laptop")
    User.objects.update(is_active=False)
    assert user_of_token(made.secret) is None


def test_a_tokens_last_use_is_noted_at_most_once_a_minute() -> None:
    made = services.make_token(user=person(), name="laptop")
    for last_used, noted in ((None, True), (timedelta(seconds=30), False), (timedelta(minutes=2), True)):
        before = timezone.now() - last_used if last_used else None
        ApiToken.objects.update(last_used=before)
        user_of_token(made.secret)
        assert (ApiToken.objects.get().last_used != before) is noted


def test_a_member_adds_members_and_a_stranger_does_not() -> None:
    alice, bob, charlie = person("alice"), person("bob"), person("charlie")
    team = services.make_team(user=alice, name="Alpine Robust")
    services.add_member(team=team, by=alice, username="Bob")
    assert get_own_team(bob, "alpine-robust") == team
    with pytest.raises(InputError):
        services.add_member(team=team, by=charlie, username="charlie")
    with pytest.raises(Http404):
        get_own_team(charlie, "alpine-robust")


def test_a_personal_team_stays_personal() -> None:
    alice = person("alice")
    person("bob")
    with pytest.raises(InputError):
        services.add_member(team=get_own_team(alice), by=alice, username="bob")


def test_two_teams_do_not_share_a_name() -> None:
    alice = person()
    services.make_team(user=alice, name="Alpine Robust")
    with pytest.raises(InputError):
        services.make_team(user=alice, name="alpine  robust")


def test_the_server_command_prints_a_working_token(capsys: pytest.CaptureFixture[str]) -> None:
    alice = person()
    call_command("make_token", "alice")
    assert user_of_token(capsys.readouterr().out.strip()) == alice
