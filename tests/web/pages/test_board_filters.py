"""Filtering a board by its address, and taking it away as a file."""

from __future__ import annotations

import csv
import io

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.e2e.season import complete, make_challenge, make_entry, make_season, make_user

pytestmark = pytest.mark.django_db

BOARD = "/challenges/mnist-linf/"
EVERYONE = {"Wide CNN, TRADES", "PGD-40 CNN", "IBP small", "Deep ensemble v3", "Thermometer"}


def _shown(client: Client, query: dict[str, str]) -> set[str]:
    """The named entries whose rows are on the board."""
    text = client.get(BOARD, query, headers={"HX-Request": "true"}).content.decode()
    return {name for name in EVERYONE if name in text}


def test_search_finds_words_of_the_name_in_any_case(client: Client) -> None:
    make_season()
    assert _shown(client, {}) == EVERYONE
    assert _shown(client, {"q": "trades WIDE"}) == {"Wide CNN, TRADES"}


def test_search_finds_the_team(client: Client) -> None:
    made = make_season()["ibp"].submission
    assert made.name in _shown(client, {"q": made.team.name.upper()})


def test_ranked_only_hides_what_runs_and_what_is_unverified(client: Client) -> None:
    make_season()
    assert _shown(client, {"verified": "1"}) == {"Wide CNN, TRADES", "PGD-40 CNN", "IBP small"}


def test_extra_data_is_shown_and_asked_for(client: Client) -> None:
    made = make_season()["ibp"].submission
    made.manifest["extra_data"] = True
    made.save()
    assert "extra data</span>" in client.get(BOARD, {"data": "extra"}).content.decode()
    assert _shown(client, {"data": "extra"}) == {made.name}
    assert _shown(client, {"data": "own"}) == EVERYONE - {made.name}
    lines = csv.DictReader(io.StringIO(client.get(f"{BOARD}board.csv").content.decode()))
    assert {line["name"] for line in lines if line["extra_data"] == "True"} == {made.name}


def test_format_and_year_that_no_entry_has_leave_no_row_and_a_way_back(client: Client) -> None:
    made = make_season()["ibp"].submission
    assert _shown(client, {"format": made.manifest["format"], "year": str(made.created.year)}) >= {made.name}
    for query in ({"format": "none"}, {"year": "1999"}):
        assert _shown(client, query) == set()
        assert f'No ranked defense matches. Ask for less, or <a href="{BOARD}">' in client.get(BOARD, query).content.decode()


def test_a_filtered_row_keeps_its_rank_and_the_form_its_values(client: Client) -> None:
    make_season()
    text = client.get(BOARD, {"q": "IBP"}).content.decode()
    assert 'data-name="IBP small" data-rank="3"' in text
    assert 'name="q" value="IBP"' in text
    assert f'hx-get="{BOARD}?q=IBP"' in text, "a live update must not undo the filter"


def test_filtering_asks_no_more_queries(client: Client) -> None:
    make_season()
    counts = []
    for query in ({}, {"q": "ibp", "verified": "1"}):
        with CaptureQueriesContext(connection) as asked:
            client.get(BOARD, query)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_file_has_the_judged_entries_in_the_boards_order(client: Client) -> None:
    make_season()
    answer = client.get(f"{BOARD}board.csv")
    lines = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert answer["Content-Type"].startswith("text/csv")
    assert [line["name"] for line in lines[:3]] == ["Wide CNN, TRADES", "PGD-40 CNN", "IBP small"]
    assert [line["rank"] for line in lines] == ["1", "2", "3", "4", ""]
    assert "Gradients are zero" in lines[-1]["reasons"]


def test_file_follows_the_filter(client: Client) -> None:
    make_season()
    text = client.get(f"{BOARD}board.csv", {"q": "ibp"}).content.decode()
    assert [line["name"] for line in csv.DictReader(io.StringIO(text))] == ["IBP small"]


def test_name_in_the_file_is_no_formula(client: Client) -> None:
    challenge = make_challenge(examples=20)
    complete(make_entry(challenge, make_user().teams.get(), "=1+1"), clean=1, left=(0.5,) * 4)
    assert ",'=1+1," in client.get(f"{BOARD}board.csv").content.decode()
