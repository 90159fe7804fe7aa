"""Every page of the admin answers, for every model, with something in it."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from arena.accounts.models import Team, User
from arena.accounts.services import make_team, make_token
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from tests.web.backend_support import PASSWORD, current, person, small_challenge
from tests.web.matrix_support import attack, defend, play

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def organiser(client: Client) -> Client:
    alice = person("alice")
    challenge = small_challenge()
    defend(challenge, alice, name="One")
    attack(challenge, person("bob"), name="breaks 1")
    play()
    make_token(user=alice, name="laptop")
    client.force_login(User.objects.create_superuser("olga", "olga@example.org", PASSWORD))
    return client


def address(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_page_of_every_model_answers(organiser: Client, model: type[Model]) -> None:
    listed = organiser.get(address(model, "changelist"))
    assert listed.status_code == 200
    assert organiser.get(address(model, "changelist"), {"q": "a"}).status_code == 200
    may_add = admin.site._registry[model].has_add_permission(listed.wsgi_request)
    assert organiser.get(address(model, "add")).status_code == (200 if may_add else 403)
    first = model._default_manager.first()
    if first is not None:
        assert organiser.get(address(model, "change", first.pk)).status_code == 200
        assert organiser.get(address(model, "history", first.pk)).status_code == 200
        assert organiser.get(address(model, "delete", first.pk)).status_code in (200, 403)
    assert organiser.get(reverse("admin:app_list", args=[model._meta.app_label])).status_code == 200


def test_a_challenge_is_hidden_and_shown_again_and_made_from_files_alone(organiser: Client) -> None:
    challenge = Challenge.objects.get()
    page = address(Challenge, "change", challenge.pk)
    organiser.post(page, {})
    assert not Challenge.objects.get().published
    organiser.post(page, {"published": "on", "title": "Another title", "slug": "other"})
    found = Challenge.objects.get()
    assert (found.published, found.title, found.slug) == (True, challenge.title, challenge.slug)
    assert organiser.post(address(Challenge, "add"), {"published": "on"}).status_code == 403
    assert organiser.post(address(Challenge, "delete", challenge.pk), {"post": "yes"}).status_code == 403
    assert "add" not in organiser.get(address(Challenge, "changelist")).content.decode().split('class="object-tools"')[-1][:200]


def test_a_person_and_a_team_are_made_and_changed(organiser: Client) -> None:
    form = {
        "username": "carol",
        "password1": PASSWORD,
        "password2": PASSWORD,
        "usable_password": "true",
        "email": "c@example.org",
    }
    assert organiser.post(address(User, "add"), form).status_code == 302
    assert User.objects.get(username="carol").email == "c@example.org"
    again = {**form, "username": "dora", "email": "c@example.org"}
    assert organiser.post(address(User, "add"), again).status_code == 200, "two people do not share an email address"
    carol = User.objects.get(username="carol")
    assert carol.teams.get(personal=True).name == "carol", "like everyone who signs up"
    team = make_team(user=carol, name="Alpine Robust")
    members = {"name": "Alpine Robust", "slug": "alpine-robust", "members": [carol.pk, User.objects.get(username="alice").pk]}
    assert organiser.post(address(Team, "change", team.pk), members).status_code == 302
    assert team.members.count() == 2


def test_entries_are_evaluated_again(organiser: Client) -> None:
    before = Evaluation.objects.get(current=True)
    form = {"action": "evaluate_again", "_selected_action": [before.pk]}
    assert organiser.post(address(Evaluation, "changelist"), form).status_code == 302
    assert current(before.submission).pk != before.pk
    assert current(before.submission).state == Evaluation.State.QUEUED


def test_the_admin_is_closed_to_everyone_else(organiser: Client) -> None:
    strangers = [Client(), Client()]
    strangers[1].force_login(User.objects.get(username="alice"))
    for model in MODELS:
        for stranger in strangers:
            answer = stranger.get(address(model, "changelist"))
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")
