"""No figure that the evaluator does not vouch for is quoted without saying so, wherever it is quoted."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pyarrow import parquet

from arena.challenges.models import Challenge
from arena.cli.submit import _where
from arena.evaluations.models import Evaluation
from arena.leaderboards.queries import board
from arena.matrix.models import Cell
from arena.submissions.models import Submission
from tests.e2e.season import Made, make_season
from tests.e2e.season_matrix import make_matrix

pytestmark = pytest.mark.django_db
BOARD = "/challenges/mnist-linf"


@pytest.fixture
def made() -> Made:
    """An entry at 89 %, of which each test makes a doubtful one."""
    return make_season()["ibp"]


def _unverified(made: Made) -> str:
    Evaluation.objects.filter(pk=made.evaluation.pk).update(verified=False)
    return "unverified"


def _outdated(made: Made) -> str:
    Challenge.objects.update(rules_digest="f" * 64)
    return "measured under earlier rules"


def _withdrawn(made: Made) -> str:
    Submission.objects.filter(pk=made.submission.pk).update(withdrawn=timezone.now())
    return "withdrawn"


@pytest.mark.parametrize("spoil", [_unverified, _outdated, _withdrawn])
def test_badge_frame_and_citation_say_why_instead_of_a_figure(client: Client, made: Made, spoil: Any) -> None:
    entry = f"/entries/{made.submission.public_id}"
    before = [client.get(f"{entry}/{page}").content.decode() for page in ("badge.svg", "embed/", "")]
    said = spoil(made)
    badge, frame, page = (client.get(f"{entry}/{page}").content.decode() for page in ("badge.svg", "embed/", ""))
    bibtex = page[page.index("@misc") :].split("</code>")[0]
    assert ("89.0 % robust" in before[0], "89.0 %" in before[1], "robust accuracy 89.00" in before[2]) == (True, True, True)
    for text in (badge, frame, bibtex):
        assert said in text.lower()
        assert "89.0" not in text
    assert f"every known attack ({said})" in page
    assert f'alt="{said}"' in page


def test_exports_and_the_api_say_of_every_figure_whether_it_is_vouched_for(client: Client, made: Made) -> None:
    _unverified(made)
    public_id = made.submission.public_id
    lines = list(csv.DictReader(io.StringIO(client.get(f"{BOARD}/board.csv").content.decode())))
    assert {line["entry"]: line["verified"] for line in lines}[public_id] == "False"
    assert {line["verified"] for line in lines if line["rank"]} == {"True"}
    entries = json.loads(client.get(f"{BOARD}/board.json").content)["entries"]
    assert [entry["verified"] for entry in entries if entry["entry"] == public_id] == [False]
    table = parquet.read_table(io.BytesIO(client.get(f"{BOARD}/board.parquet").content)).to_pylist()
    assert [row["verified"] for row in table if row["entry"] == public_id] == [False]
    shown = client.get("/api/v1/challenges/mnist-linf/board").json()
    assert [row["verified"] for row in shown["unverified"] if row["submission_id"] == public_id] == [False]
    assert {row["verified"] for row in shown["ranked"]} == {True}
    matrix = client.get("/api/v1/challenges/mnist-linf/matrix").json()["defenses"]
    assert [row["verified"] for row in matrix if row["defense"] == public_id] == [False]
    told = client.get(f"/api/v1/submissions/{public_id}").json()["evaluation"]
    assert told["verified"] is False
    assert _where(told) == "unverified: it does not rank", "`redoubt status` and `redoubt submit --wait` say so, too"
    assert public_id not in str(client.get("/api/v1/challenges/mnist-linf/rankings").json())


def test_the_front_page_never_quotes_an_unverified_figure(client: Client) -> None:
    make_season()
    Evaluation.objects.update(verified=False)
    assert "robust accuracy" not in client.get("/").content.decode().split("<main")[1].split("</ul>")[0]
    assert " %" not in client.get("/").content.decode().split('id="boards"')[1].split("</ul>")[0]


def test_pages_that_quote_an_attacked_defense_say_that_it_is_unverified(client: Client) -> None:
    ids = make_matrix()
    cell = Cell.objects.select_related("attack", "defense").get(public_id=ids["cell"])
    pages = [f"/challenges/{cell.challenge.slug}/{page}" for page in ("matrix/", "history/", "")] + [
        f"/cells/{cell.public_id}/",
        f"/entries/{cell.attack.public_id}/",
        f"/entries/{cell.defense.public_id}/",
    ]
    pages.append(f"/teams/{cell.defense.team.slug}/")
    before = [client.get(page).content.decode().count(">unverified") for page in pages]
    Evaluation.objects.filter(submission=cell.defense).update(verified=False)
    after = [client.get(page).content.decode().count(">unverified") for page in pages]
    assert all(more > fewer for more, fewer in zip(after, before, strict=True)), list(zip(pages, before, after, strict=True))
    attack = client.get(f"/api/v1/attacks/{cell.attack.public_id}").json()
    assert {each["defense_verified"] for each in attack["cells"] if each["defense"] == cell.defense.public_id} == {False}


def test_of_a_defense_at_zero_nothing_is_left_to_fall(client: Client, made: Made) -> None:
    Evaluation.objects.filter(pk=made.evaluation.pk).update(robust_accuracy=0.0, interval_low=0.0, interval_high=0.004)
    challenge = Challenge.objects.get(slug="mnist-linf")
    page = client.get(f"{BOARD}/").content.decode()
    said = {True: "none since it entered", False: "nothing is left to fall"}
    for row in board(challenge).ranked:
        cells = page.split(f'id="entry-{row.submission_id}"')[1].split("</tr>")[0]
        assert said[bool(row.robust_accuracy)] in cells, row.name
    history = client.get(f"{BOARD}/history/").content.decode()
    assert made.submission.name not in history.split("Not fallen since they entered")[1]
