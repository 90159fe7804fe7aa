"""A board of a thousand entries: how sure its ranks are, how much is asked of the database and sent to the browser."""

from __future__ import annotations

import re
import time

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arena.accounts.models import Team
from arena.evaluations.models import Evaluation
from arena.matrix.models import Survival
from benchmarks.board import random_challenge, random_defenses

pytestmark = pytest.mark.django_db
ADDRESS = "/challenges/long/"


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="Many <b>entries</b>", slug="many")


def test_board_of_a_thousand_is_small_and_asks_no_more_than_a_short_one(client: Client, team: Team) -> None:
    challenge = random_challenge("long", 64)
    random_defenses(challenge, team, 3, 64)
    with CaptureQueriesContext(connection) as few:
        client.get(ADDRESS)
    random_defenses(challenge, team, 997, 64)
    with CaptureQueriesContext(connection) as many:
        answer = client.get(ADDRESS, headers={"Accept-Encoding": "gzip"})
    queries = len(many)
    assert queries == len(few) > 0
    assert answer["Content-Encoding"] == "gzip"
    assert 20_000 < len(answer.content) < 110_000, "with styles, font and scripts that is a first load below 200 kB"
    begun = time.process_time()
    page = client.get(ADDRESS).content.decode()
    print(f"a board of 1,000 entries in {1000 * (time.process_time() - begun):.0f} ms of CPU, {queries} queries")
    assert page.count('class="bracket-cell"') == 1000
    assert "<b>entries" not in page


def test_ranks_that_cannot_be_kept_apart_are_ranges(client: Client, team: Team) -> None:
    random_defenses(random_challenge("long", 400), team, 20, 400)
    page = client.get(ADDRESS).content.decode()
    shown = re.findall(r'class="rank">(\d+(?:–\d+)?)<', page)
    places = re.findall(r'data-rank="(\d+)"', page)
    assert places == [str(place) for place in range(1, 21)]
    sets = [tuple(int(end) for end in text.split("–")) for text in shown]
    assert all(ends[0] <= place <= ends[-1] for place, ends in enumerate(sets, 1))
    assert any(len(ends) == 2 for ends in sets), shown
    assert sets[0][-1] < sets[-1][0], "the best is told apart from the worst"


def test_rank_sets_are_made_anew_when_a_figure_changes(client: Client, team: Team) -> None:
    challenge = random_challenge("long", 400)
    best, *_, worst = random_defenses(challenge, team, 4, 400)
    assert 'class="rank">1<' in client.get(ADDRESS).content.decode()
    Survival.objects.filter(evaluation=best).update(robust=Survival.objects.get(evaluation=worst).robust)
    Evaluation.objects.filter(pk=best.pk).update(robust_accuracy=worst.robust_accuracy)
    page = client.get(ADDRESS).content.decode()
    assert 'class="rank">3–4<' in page
