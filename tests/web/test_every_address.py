"""Every address of the site, walked: what is unpublished exists for organisers alone, and seals open with their phase."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from arena.accounts.models import User
from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.challenges.services import publish
from arena.matrix import adversarial
from arena.matrix.models import Cell, Survival
from arena.submissions.models import Submission
from evaluator.manifests.phase_specs import PhaseSpec
from evaluator.records.adversarial_archive import AdversarialArchive
from tests.web.backend_support import current, person, small_pack
from tests.web.matrix_support import attack, defend, play

pytestmark = pytest.mark.django_db
SECRET = "Sealed Orchid"  # in the challenge's title, the defense's name and the attack's
POSTS = {"web:entry-cancel", "api:withdraw", "api:cancel"}
# Addresses that belong to no challenge: they answer, and tell nothing of one that is not published.
NO_CHALLENGE = {
    "web:home", "web:favicon", "web:events", "web:teams", "web:team", "web:team-members", "web:signup", "web:login",
    "web:logout", "web:account", "web:token-create", "web:token-revoke", "web:docs", "web:docs-defense",
    "web:docs-page", "web:docs-library", "web:docs-module", "web:docs-api",
    "api:schema", "api:me", "api:challenges", "api:submissions",
}  # fmt: skip
# While a phase is open: verdicts of single examples.
SEALED = {"web:bits", "web:picture", "web:entry-picture", "web:entry-receipt", "api:report", "api:receipt"}


def names() -> Iterator[str]:
    """Every address of pages and API, by name."""

    def of(patterns: Any, space: str) -> Iterator[str]:
        for each in patterns:
            if isinstance(each, URLResolver) and each.namespace != "admin":
                yield from of(each.url_patterns, each.namespace or space)
            elif isinstance(each, URLPattern) and space:
                yield f"{space}:{each.name}"

    yield from of(get_resolver().url_patterns, "")


class Scene:
    """A challenge with a verdict, an attack that played it, and pictures of what was found. phased: within a phase."""

    def __init__(self, *, phased: bool = False) -> None:
        pack, now = small_pack(), timezone.now()
        phases = (PhaseSpec(name="Finals", opens=now - timedelta(days=1), closes=now + timedelta(days=1)),) if phased else ()
        changes = {"phases": phases, "title": SECRET}
        self.challenge = publish(
            pack=pack.model_copy(update={"challenge": pack.challenge.model_copy(update=changes)})
        ).challenge
        self.alice = person("alice")
        self.defense = defend(self.challenge, self.alice, name=f"{SECRET} CNN")
        self.attack = attack(self.challenge, person("bob"), name=f"{SECRET} breaks 1 2")
        play()
        self.cell = Cell.objects.get(kind=Cell.Kind.PLAY)
        stored = adversarial.keep_bytes(_pictures([1, 2]).to_bytes())
        Cell.objects.filter(pk=self.cell.pk).update(archive=stored)
        Survival.objects.update(archive=stored)

    def address(self, name: str) -> str:
        """The one address of that name, of this scene's own things."""
        values: dict[str, Any] = {"slug": self.challenge.slug, "public_id": self.defense.public_id, "example": 1}
        if name in ("web:cell", "web:picture"):
            values["public_id"] = self.cell.public_id
        elif name == "api:attack":
            values["public_id"] = self.attack.public_id
        elif name in ("api:evaluation", "api:report", "api:receipt", "api:log", "api:cancel"):
            values["public_id"] = current(self.defense).public_id
        values |= {"kind": "adversarial"}
        return _reverse(name, values)


def _reverse(name: str, values: dict[str, Any]) -> str:
    for wanted in ((), ("slug",), ("name",), ("public_id",), ("public_id", "example", "kind")):
        try:
            return reverse(name, kwargs={key: ({"name": "evaluator.errors"} | values)[key] for key in wanted})
        except NoReverseMatch:
            continue
    raise AssertionError(f"{name}: say in this test what its address is made of")


def _pictures(ids: list[int]) -> AdversarialArchive:
    shape = (1, 28, 28)
    return AdversarialArchive(
        ids=np.array(ids, dtype=np.int64),
        form=np.zeros(len(ids), dtype=np.uint8),
        scale=np.full(len(ids), 0.3),
        steps=np.full((len(ids), *shape), 100, dtype=np.int8),
        halves=np.zeros((0, *shape), dtype=np.float16),
        points=np.zeros((0, *shape), dtype=np.float32),
    )


def ask(name: str, address: str, user: User | None) -> HttpResponse:
    client, headers = Client(), {}
    if user is not None and name.startswith("api:"):
        headers = {"Authorization": f"Bearer {make_token(user=user, name='test').secret}"}
    elif user is not None:
        client.force_login(user)
    answer = (client.post if name in POSTS else client.get)(address, headers=headers)
    assert isinstance(answer, HttpResponse) or answer.streaming
    return answer


def organiser() -> User:
    olga = person("olga")
    User.objects.filter(pk=olga.pk).update(is_staff=True)
    return User.objects.get(pk=olga.pk)


def test_whatever_belongs_to_an_unpublished_challenge_exists_for_organisers_alone() -> None:
    scene = Scene()
    Challenge.objects.update(published=False)
    charlie, olga = person("charlie"), organiser()
    walked = [name for name in names() if name not in NO_CHALLENGE]
    assert len(walked) > 25
    for name in walked:
        address = scene.address(name)
        if name not in POSTS | {"web:submit", "api:archive"}:  # those ask first who one is
            assert ask(name, address, None).status_code == 404, name
        assert ask(name, address, charlie).status_code == 404, name
        assert ask(name, address, scene.alice).status_code == 404, f"{name}: not even for who entered it"
    for name in walked:
        assert ask(name, scene.address(name), olga).status_code in (200, 302, 400), name


def test_no_other_page_tells_of_an_unpublished_challenge() -> None:
    scene = Scene()
    posts = {"web:token-revoke", "web:team-members", "web:logout", "web:token-create"}
    told = sorted(NO_CHALLENGE - posts - {"web:events"})
    seen = 0
    for published in (True, False):
        Challenge.objects.update(published=published)
        for name in told:
            address = _reverse(name, {"slug": "scoring" if name == "web:docs-page" else "alice"})
            found = SECRET in ask(name, address, None).content.decode(errors="replace")
            seen += found
            assert published or not found, name
    assert seen >= 3, "the front page, the team's page and the API's list had told of it"
    assert scene.challenge.title == SECRET


def test_single_verdicts_and_pictures_open_when_the_phase_closes() -> None:
    scene = Scene(phased=True)
    charlie, olga = person("charlie"), organiser()
    closes = scene.challenge.season.sealed_until
    assert closes is not None
    for name in names():
        if name in NO_CHALLENGE | POSTS | {"api:archive", "api:log", "web:submit"}:
            continue
        address = scene.address(name)
        for reader in (None, charlie):
            answer = ask(name, address, reader)
            assert answer.status_code == (403 if name in SEALED else 200), name
            if name in SEALED:
                assert f"{closes:%Y-%m-%d %H:%M}" in answer.content.decode(), name
        assert ask(name, address, olga).status_code == 200, name
    own = {name: ask(name, scene.address(name), scene.alice).status_code for name in SEALED}
    assert own == {name: 200 if name in ("web:entry-receipt", "api:report", "api:receipt") else 403 for name in SEALED}
    pages = [scene.address(name) for name in ("web:entry", "web:cell")]
    assert ["adversarial.png" in Client().get(page).content.decode() for page in pages] == [False, False]
    of_staff = Client()
    of_staff.force_login(olga)
    assert ["adversarial.png" in of_staff.get(page).content.decode() for page in pages] == [True, True]
    publish(pack=small_pack())  # without phases
    for name in SEALED:
        assert ask(name, scene.address(name), None).status_code == 200, name
    assert ["adversarial.png" in Client().get(page).content.decode() for page in pages] == [True, True]


def test_a_withdrawn_entry_is_on_no_list_and_keeps_its_page() -> None:
    scene = Scene()
    Submission.objects.filter(pk=scene.defense.pk).update(withdrawn=timezone.now())
    for name in (
        "web:home",
        "web:board",
        "web:board-csv",
        "web:board-json",
        "web:matrix",
        "api:board",
        "api:matrix",
        "web:bits",
    ):
        body = ask(name, scene.address(name), None).content
        assert scene.defense.public_id.encode() not in body, name
    assert "withdrawn" in ask("web:entry", scene.address("web:entry"), None).content.decode()
