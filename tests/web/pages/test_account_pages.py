"""Signing up, logging in, tokens, teams and the submission form."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from arena.accounts.models import ApiToken, Team, User
from arena.accounts.queries import user_of_token
from arena.accounts.services import make_team
from tests.e2e.season import PASSWORD, make_challenge, make_user
from tests.e2e.season_matrix import make_matrix

pytestmark = pytest.mark.django_db


def _errors(html: str, field: str) -> str:
    """The error text tied to a field; empty when it has none."""
    found = re.search(rf'<ul class="errorlist" id="id_{field}_error">(.*?)</ul>', html, re.DOTALL)
    return found[1] if found else ""


def test_signing_up_logs_in_and_leads_where_one_came_from(client: Client) -> None:
    form = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}
    answer = client.post("/sign-up/?next=/docs/", form)
    assert answer["Location"] == "/docs/"
    assert b"alice" in client.get("/account/").content


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("username", "a b", "A user name has 3 to 30 letters"),
        ("username", "bob", "This user name is taken, or looks like"),
        ("email", "bob@example.org", "There is an account with this email address."),
        ("password", "password", "too common"),
    ],
)
def test_sign_up_error_stands_next_to_its_field_and_names_stay_typed(client: Client, field: str, value: str, said: str) -> None:
    make_user("bob")
    form = {"username": "alice", "email": "alice@example.org", "password": PASSWORD} | {field: value}
    html = client.post("/sign-up/", form).content.decode()
    assert said in _errors(html, field)
    assert f'value="{form["username"]}"' in html
    assert PASSWORD not in html
    assert not User.objects.filter(username="alice").exists()


def test_logging_in_works_by_name_and_by_email(client: Client) -> None:
    make_user("alice")
    for identifier in ("alice", "alice@example.org"):
        answer = client.post("/log-in/", {"identifier": identifier, "password": PASSWORD, "next": "/teams/"})
        assert answer["Location"] == "/teams/"
        client.post("/log-out/")


def test_wrong_password_and_unknown_name_are_reported_the_same(client: Client) -> None:
    make_user("alice")
    said = [
        _errors(client.post("/log-in/", {"identifier": name, "password": "wrong"}).content.decode(), "password")
        for name in ("alice", "nobody")
    ]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_log_in_never_leads_to_another_site(client: Client, elsewhere: str) -> None:
    make_user("alice")
    answer = client.post("/log-in/", {"identifier": "alice", "password": PASSWORD, "next": elsewhere})
    assert answer["Location"] == "/"


def test_logging_out_needs_a_post(client: Client) -> None:
    assert client.get("/log-out/").status_code == 405


def test_token_is_shown_once_and_works(client: Client) -> None:
    user = make_user("alice")
    client.force_login(user)
    answer = client.post("/account/tokens/", {"name": "lab cluster"})
    secret = re.search(r"redoubt_[\w-]{20,}", answer.content.decode())
    assert secret is not None
    assert user_of_token(secret[0]) == user
    assert "no-store" in answer["Cache-Control"]
    again = client.get("/account/").content.decode()
    assert "lab cluster" in again
    assert secret[0] not in again


def test_charlie_cannot_revoke_a_token_of_alice(client: Client) -> None:
    alice = make_user("alice")
    client.force_login(alice)
    client.post("/account/tokens/", {"name": "one"})
    token = ApiToken.objects.get()
    client.force_login(make_user("charlie"))
    assert client.post(f"/account/tokens/{token.pk}/revoke/").status_code == 404
    client.force_login(alice)
    client.post(f"/account/tokens/{token.pk}/revoke/")
    assert not ApiToken.objects.exists()


def test_team_is_made_and_a_member_added(client: Client) -> None:
    client.force_login(make_user("alice"))
    make_user("bob")
    assert client.post("/teams/", {"name": "Alpine Robust"})["Location"] == "/teams/alpine-robust/"
    answer = client.post("/teams/alpine-robust/members/", {"username": "bob"}, follow=True)
    assert b"bob is now a member." in answer.content
    assert Team.objects.get(slug="alpine-robust").members.count() == 2


def test_charlie_cannot_add_himself_to_a_team(client: Client) -> None:
    team = make_team(user=make_user("alice"), name="Alpine Robust")
    client.force_login(make_user("charlie"))
    assert client.post("/teams/alpine-robust/members/", {"username": "charlie"}).status_code == 404
    assert team.members.count() == 1


def test_refused_archive_is_explained_at_the_field_and_the_team_stays_chosen(client: Client) -> None:
    make_challenge()
    alice = make_user("alice")
    team = make_team(user=alice, name="Alpine Robust")
    client.force_login(alice)
    junk = SimpleUploadedFile("model.pth", b"\x80\x02 not an archive")
    html = client.post("/challenges/mnist-linf/submit/", {"team": team.pk, "archive": junk}).content.decode()
    assert _errors(html, "archive")
    assert f'<option value="{team.pk}" selected>' in html


def test_submitting_without_a_file_says_what_to_choose(client: Client) -> None:
    make_challenge()
    alice = make_user("alice")
    client.force_login(alice)
    html = client.post("/challenges/mnist-linf/submit/", {"team": alice.teams.get().pk}).content.decode()
    assert "Choose a .zip or .tar.gz archive first." in _errors(html, "archive")


def test_charlie_cannot_submit_for_a_team_of_alice(client: Client) -> None:
    make_challenge()
    team = make_team(user=make_user("alice"), name="Alpine Robust")
    client.force_login(make_user("charlie"))
    archive = SimpleUploadedFile("a.zip", b"PK")
    html = client.post("/challenges/mnist-linf/submit/", {"team": team.pk, "archive": archive}).content.decode()
    assert _errors(html, "team")


def test_team_page_lists_defenses_and_attacks_with_what_became_of_each(client: Client) -> None:
    make_matrix()
    dan = client.get("/teams/dan/").content.decode()
    assert "Guided local search" in dan
    assert "173 felled" in dan
    assert ">refused<" in dan
    assert ">being looked at<" in dan
    assert "unverified" not in dan
    assert "<h2>Defenses</h2>" not in dan
    assert "<h2>Defenses</h2>" in client.get("/teams/carol/").content.decode()
