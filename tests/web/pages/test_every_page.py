"""What holds for every page: it answers, it forbids inline code and obeys, and it names its parts."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from django.test import Client

from arena.accounts.models import User
from tests.e2e.season import make_season
from tests.e2e.season_matrix import make_matrix

pytestmark = pytest.mark.django_db

ANYONE = [
    "/",
    "/challenges/mnist-linf/",
    "/challenges/mnist-l2/",
    "/challenges/mnist-linf/rules/",
    "/challenges/mnist-linf-01/",
    "/challenges/mnist-linf-01/attacks/",
    "/challenges/mnist-linf-01/matrix/",
    "/challenges/mnist-linf-01/history/",
    "/entries/{attack}/",
    "/entries/{attack_refused}/",
    "/entries/{attack_new}/",
    "/entries/{attacked}/",
    "/cells/{cell}/",
    "/cells/{cell_failed}/",
    "/entries/{trades}/",
    "/entries/{ibp}/",
    "/entries/{thermometer}/",
    "/entries/{running}/",
    "/entries/{queued}/",
    "/entries/{failed}/",
    "/entries/{broken}/",
    "/entries/{cancelled}/",
    "/entries/{ibp}/embed/",
    "/teams/",
    "/teams/alpine-robust/",
    "/sign-up/",
    "/log-in/",
    "/docs/",
    "/docs/defense-submissions/",
    "/docs/api/",
    "/docs/library/",
    "/docs/scoring/",
]
MEMBERS = ["/account/", "/challenges/mnist-linf/submit/"]


@pytest.fixture
def season() -> dict[str, str]:
    """Public ids by key."""
    return {key: made.submission.public_id for key, made in make_season().items()} | make_matrix()


def _address(template: str, season: dict[str, str]) -> str:
    return template.format(**season)


class _Inline(HTMLParser):
    """Collects what a strict policy forbids, and images, fields and tables that say nothing of themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(f"inline {tag}")
        self.found += [f"{tag} {value}" for value in names.values() if value and value.startswith("javascript:")]
        if tag == "th" and "scope" not in names and "role" not in names:
            self.found.append("th without scope")


@pytest.mark.parametrize("person", ["alice", "bob", None])
def test_every_page_answers_with_a_strict_policy_and_obeys_it(
    client: Client, season: dict[str, str], person: str | None
) -> None:
    if person:
        client.force_login(User.objects.get(username=person))
    for template in ANYONE + (MEMBERS if person else []):
        answer = client.get(_address(template, season))
        assert answer.status_code == 200, template
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy, template
        assert "unsafe" not in policy, template
        inline = _Inline()
        inline.feed(answer.content.decode())
        assert inline.found == [], template


@pytest.mark.parametrize("template", MEMBERS)
def test_page_of_members_leads_strangers_to_the_log_in(client: Client, season: dict[str, str], template: str) -> None:
    answer = client.get(template)
    assert answer.status_code == 302
    assert answer["Location"] == f"/log-in/?next={template}"


def test_missing_page_is_in_the_look(client: Client) -> None:
    answer = client.get("/nothing/here/")
    assert answer.status_code == 404
    assert b"There is nothing here for you" in answer.content
    assert b"web/base.css" in answer.content


def test_our_own_mistake_is_admitted_in_the_look(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.web.views.home.published", lambda: 1 / 0)
    client.raise_request_exception = False
    answer = client.get("/")
    assert answer.status_code == 500
    assert b"Something broke on our side" in answer.content
    assert b"web/base.css" in answer.content


def test_expired_form_is_explained() -> None:
    answer = Client(enforce_csrf_checks=True).post("/log-in/", {"identifier": "alice", "password": "x"})
    assert answer.status_code == 403
    assert b"The form has expired" in answer.content


def test_only_the_embedded_page_may_be_framed(client: Client, season: dict[str, str]) -> None:
    framed = client.get(_address("/entries/{ibp}/embed/", season))
    assert "frame-ancestors *" in framed["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed
    entry = client.get(_address("/entries/{ibp}/", season))
    assert "frame-ancestors 'none'" in entry["Content-Security-Policy"]
    assert entry["X-Frame-Options"] == "DENY"


def test_badge_is_a_picture_that_stands_alone(client: Client, season: dict[str, str]) -> None:
    answer = client.get(_address("/entries/{ibp}/badge.svg", season))
    assert answer["Content-Type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.content)
    assert "89.0 % robust" in "".join(root.itertext())
    assert "certified 86.4 %" in root.attrib["aria-label"]
    assert not [node for node in root.iter() if "style" in node.attrib]


def test_badge_of_an_entry_without_a_result_is_not_found(client: Client, season: dict[str, str]) -> None:
    assert client.get(_address("/entries/{failed}/badge.svg", season)).status_code == 404
