"""The board, the front page and the rules."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from arena.challenges.queries import published
from arena.evaluations.models import Evaluation
from arena.leaderboards.overviews import overviews
from arena.leaderboards.queries import board
from arena.leaderboards.services import record_standing
from tests.e2e.season import complete, make_challenge, make_entry, make_season, make_user, run

pytestmark = pytest.mark.django_db


def _queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


@pytest.mark.parametrize("address", ["/", "/challenges/mnist-linf/", "/teams/", "/teams/alice/", "/account/"])
def test_page_asks_the_same_number_of_queries_however_many_entries(client: Client, address: str) -> None:
    challenge = make_challenge(examples=20)
    make_challenge("other", title="Another one", examples=20)
    user = make_user("alice")
    client.force_login(user)
    counts = []
    for size in (1, 9):
        for index in range(size):
            name = f"{size}-{index}"
            complete(make_entry(challenge, user.teams.get(), name), clean=1, left=(1, 1, 0.9, 0.5))
            run(make_entry(challenge, user.teams.get(), f"{name} running"))
            make_entry(challenge, make_user(f"team-{name}").teams.get(), f"{name} queued")
        counts.append(_queries(client, address))
    assert counts[0] == counts[1]


def test_board_shows_ranks_intervals_running_ones_and_reasons(client: Client) -> None:
    make_season()
    text = client.get("/challenges/mnist-linf/").content.decode()
    assert text.index("Wide CNN, TRADES") < text.index("PGD-40 CNN") < text.index("IBP small") < text.index("Being evaluated")
    assert text.index("Being evaluated") < text.index("Deep ensemble v3") < text.index("Not ranked") < text.index("Thermometer")
    assert "90.8–94.1" in text
    assert "PGD-40, margin · about 41 s left" in text
    assert "620 of 1,000 settled · 812 standing" in text
    assert "≤ 81.2 %" in text
    assert "Gradients are zero on 97 % of the images" in text
    assert "Published, not measured here" in text
    assert "NaN at the corners" not in text


def test_last_fall_is_reported_with_its_size_and_cause(client: Client) -> None:
    made = make_season()["pgd"]
    again = Evaluation.objects.create(
        judge=Evaluation.JUDGE,
        challenge=made.submission.challenge,
        team=made.submission.team,
        submission=made.submission,
        current=False,
        pack={},
        rules_digest="",
        examples=1000,
        state="completed",
    )
    record_standing(evaluation=again, robust_accuracy=0.881, at=timezone.now())
    text = client.get("/challenges/mnist-linf/").content.decode()
    assert "−1.2 <bdi>re-evaluated</bdi>" in text
    assert (text.count("none since it entered"), text.count("nothing is left to fall")) == (2, 1)


def test_partial_is_the_board_alone_and_caches_keep_it_apart(client: Client) -> None:
    make_season()
    answer = client.get("/challenges/mnist-linf/", headers={"HX-Request": "true"})
    assert answer.content.strip().startswith(b'<section id="board"')
    assert b"<html" not in answer.content
    assert "HX-Request" in answer["Vary"]


def test_front_page_shows_the_leader_of_each_board() -> None:
    make_season()
    for overview in overviews(list(published())):
        ranked = board(overview.challenge).ranked
        assert overview.ranked == len(ranked)
        assert overview.leader == (ranked[0] if ranked else None)


def test_front_page_breaks_ties_as_the_board_does() -> None:
    challenge = make_challenge(examples=20)
    team = make_user().teams.get()
    for name, clean, rows in (("dear", 0.9, 500), ("cheap", 0.9, 100), ("late", 0.9, 100), ("less clean", 0.8, 1)):
        made = complete(make_entry(challenge, team, name), clean=clean, left=(0.5,) * 4)
        made.evaluation.forward_rows, made.evaluation.backward_rows = rows, rows
        made.evaluation.save()
    (overview,) = overviews([challenge])
    assert overview.leader is not None
    assert [row.name for row in board(challenge).ranked] == ["cheap", "late", "dear", "less clean"]
    assert overview.leader.name == "cheap"


def test_rules_state_threat_data_limits_and_how_to_submit(client: Client) -> None:
    make_challenge()
    text = client.get("/challenges/mnist-linf/rules/").content.decode()
    for stated in ("L∞ ≤ 0.3 in [0, 1]", "white-box gradients", "1,000 images of the MNIST test set", "2,048 MiB", "30 min"):
        assert stated in text
    assert "redoubt submit ./my-defense --challenge mnist-linf" in text
    assert "http://testserver/api/v1/submissions" in text


def test_readme_is_rendered_and_its_html_is_text(client: Client) -> None:
    make_challenge()
    text = client.get("/challenges/mnist-linf/rules/").content.decode()
    assert "<h2>What counts</h2>" in text
    assert text.count("<h1") == 1
    assert "&lt;script&gt;alert(" in text
    assert 'href="javascript' not in text


def test_union_of_balls_and_pixel_counts_are_put_into_words(client: Client) -> None:
    members = [{"kind": "linf", "epsilon": 0.1}, {"kind": "l0", "epsilon": 12}]
    make_challenge("union", threat={"kind": "union", "members": members})
    assert "L∞ ≤ 0.1 or L0 ≤ 12 pixels in [0, 1]" in client.get("/challenges/union/").content.decode()
