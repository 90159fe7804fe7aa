"""A name that is written from right to left reorders nothing around it, on any page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.test import Client

from arena.accounts.models import Team, User
from arena.challenges.models import Challenge
from arena.submissions.models import Submission
from tests.e2e.certified_season import make_certified_season
from tests.e2e.season import make_season
from tests.e2e.season_matrix import make_matrix
from tests.web.pages.test_every_page import ANYONE, MEMBERS

pytestmark = pytest.mark.django_db
HEBREW = "שלום"
VOID = {"meta", "link", "input", "br", "img", "col", "hr"}
# What holds no elements: a browser isolates titles and options itself; what is to be copied is left as it is.
PLAIN = {"title", "option", "code"}


class Names(HTMLParser):
    """Collects text with Hebrew in it that is not isolated from what stands around it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.bare: list[str] = []
        self.isolated = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if HEBREW not in data or PLAIN & set(self.inside):
            return
        drawn = "svg" in self.inside and "\N{FIRST STRONG ISOLATE}" in data
        if "bdi" in self.inside or drawn:
            self.isolated += 1
        else:
            self.bare.append(f"{' '.join(self.inside[-3:])}: {data.strip()[:80]}")


def test_every_name_on_every_page_is_isolated(client: Client) -> None:
    season = {key: made.submission.public_id for key, made in make_season().items()} | make_matrix()
    certified = next(
        iter(make_certified_season((Team.objects.all()[0], Team.objects.all()[1])).values())
    ).submission.challenge.slug
    User.objects.update(username=Concat(F("username"), Value(HEBREW)))
    Team.objects.update(name=Concat(F("name"), Value(HEBREW)))
    Submission.objects.update(name=Concat(F("name"), Value(HEBREW)))
    Challenge.objects.update(title=Concat(F("title"), Value(HEBREW)))
    client.force_login(User.objects.get(username=f"alice{HEBREW}"))
    isolated = 0
    for template in [*ANYONE, *MEMBERS, f"/challenges/{certified}/"]:
        page = Names()
        page.feed(client.get(template.format(**season)).content.decode())
        assert page.bare == [], (template, page.bare)
        isolated += page.isolated
    assert isolated > 200
