"""A certified board: what is proven ranks, at every radius; smoothed and plain are rows apart; a refuted proof is told."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arena.leaderboards.models import Certificate
from arena.leaderboards.overviews import overviews
from arena.leaderboards.queries import board
from arena.matrix.models import Survival
from arena.rankings.bits import pack
from arena.web.svg import ProofCurve, proof_curves
from tests.e2e.certified_season import SLUG, make_certified_challenge, make_certified_season, prove
from tests.e2e.season import complete, make_challenge, make_entry, make_user

pytestmark = pytest.mark.django_db
ADDRESS = f"/challenges/{SLUG}/"


def test_it_ranks_by_what_is_proven_at_epsilon_and_equals_by_average_certified_radius() -> None:
    made = make_certified_season()
    found = board(made["plain"].submission.challenge)
    assert [row.name for row in found.ranked] == [
        "CNN, SmoothAdv at 1.0",
        "CNN, trained under noise of 0.5",
        "1-Lipschitz network of almost-orthogonal layers",
        "A proof with a bug",
        "Standard CNN under noise of 0.12",
    ]
    assert [row.rank for row in found.ranked] == [1, 2, 3, 4, 5]
    first = found.ranked[0].certificate
    assert first is not None
    assert first.accuracies == (0.98, 0.97, 0.95, 0.92, 0.87, 0.74)
    assert first.accuracy == found.ranked[0].certified_accuracy == 0.95


def test_a_smoothed_classifier_and_the_plain_one_behind_it_are_separate_rows_with_figures_of_their_own() -> None:
    challenge = make_certified_challenge()
    entry = complete(make_entry(challenge, make_user("ada").teams.get(), "Noisy"), clean=0.9, left=(0.5, 0.4, 0.3, 0.2))
    prove(entry, 1.0, 0.9, 0.8, 0.6, 0.4, 0.2, empirical=0.85)
    found = board(challenge)
    (smoothed,), (plain,) = found.ranked, found.plain
    assert (smoothed.certified_accuracy, smoothed.robust_accuracy, smoothed.clean_accuracy) == (0.8, 0.85, 1.0)
    assert (plain.certified_accuracy, plain.robust_accuracy, plain.clean_accuracy) == (None, 0.2, 0.9)
    assert plain.rank is None


def test_a_certificate_of_the_entry_itself_leaves_no_plain_row() -> None:
    challenge = make_certified_challenge()
    entry = complete(make_entry(challenge, make_user("ada").teams.get(), "AOL"), clean=0.9, left=(0.8, 0.8, 0.8, 0.8))
    prove(entry, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2, empirical=0.8, sigma=None)
    found = board(challenge)
    assert [row.certified_accuracy for row in found.ranked] == [0.7]
    assert found.plain == ()


def test_an_attack_that_breaks_certified_examples_later_voids_them_and_raises_the_alarm(client: Client) -> None:
    challenge = make_certified_challenge()
    entry = complete(make_entry(challenge, make_user("ada").teams.get(), "AOL"), clean=0.9, left=(0.8, 0.8, 0.8, 0.8))
    prove(entry, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2, empirical=0.8, sigma=None)
    stands = [int(3 <= row < 80) for row in range(100)]
    Survival.objects.filter(evaluation=entry.evaluation).update(robust=pack(stands))
    (row,) = board(challenge).ranked
    assert row.certificate is not None
    assert (row.certified_accuracy, row.robust_accuracy) == (0.67, 0.77)
    assert row.certificate.accuracies[-1] == 0.17
    assert "3 certified examples were broken by an attack" in row.certificate.alarm
    assert row.certificate.alarm in client.get(ADDRESS).content.decode()


def test_a_board_of_attacks_shows_the_alarm_and_the_lower_bound_that_is_left(client: Client) -> None:
    challenge = make_challenge("mnist-l2", threat={"kind": "l2", "epsilon": 0.5}, examples=100)
    entry = complete(
        make_entry(challenge, make_user("ada").teams.get(), "AOL"), clean=0.9, left=(0.8, 0.8, 0.8, 0.8), certified=0.7
    )
    prove(entry, 0.9, 0.8, 0.7, 0.6, 0.4, 0.2, empirical=0.8, sigma=None)
    assert "refuted" not in client.get("/challenges/mnist-l2/").content.decode()
    stands = [int(3 <= row < 80) for row in range(100)]
    Survival.objects.filter(evaluation=entry.evaluation).update(robust=pack(stands))
    assert board(challenge).ranked[0].certified_accuracy == 0.67
    assert "3 certified examples were broken by an attack" in client.get("/challenges/mnist-l2/").content.decode()


def test_the_page_has_a_column_for_each_radius_the_average_radius_and_the_published_curve(client: Client) -> None:
    make_certified_season()
    text = client.get(ADDRESS).content.decode()
    for radius in ("0.25", "0.75", "1.25"):
        assert f">{radius}</th>" in text
    assert "ACR" in text
    assert "smoothed version: smoothing, sigma 0.5; at most 0.1 false expected" in text
    assert text.index("CNN, SmoothAdv at 1.0") < text.index("Without a certificate") < text.index("Being evaluated")
    assert "<bdi>Cohen et al. 2019</bdi>, published, not measured here" in text
    assert "have an adversarial input inside the certified set" in text
    assert "Certified accuracy against radius. CNN, SmoothAdv at 1.0" in text


def test_the_front_page_leads_with_the_certified_leader(client: Client) -> None:
    made = make_certified_season()
    (overview,) = overviews([made["plain"].submission.challenge])
    assert overview.leader is not None
    assert (overview.leader.name, overview.ranked) == ("CNN, SmoothAdv at 1.0", 5)
    assert "certified</span> <strong>95.0</strong> %" in client.get("/").content.decode()


def test_the_file_of_results_holds_the_shares_proven_at_each_radius(client: Client) -> None:
    make_certified_season()
    rows = list(csv.DictReader(io.StringIO(client.get(f"{ADDRESS}board.csv").content.decode())))
    assert (rows[0]["certificate"], rows[0]["average_certified_radius"][:4]) == ("smoothing, sigma 0.5", "1.11")
    assert rows[0]["certified_accuracies"] == "0:0.98 0.25:0.97 0.5:0.95 0.75:0.92 1:0.87 1.25:0.74"
    assert [row["classifier"] for row in rows[:2]] == ["smoothed", "smoothed"]
    assert {row["classifier"] for row in rows if not row["rank"]} == {"itself"}


def test_the_api_tells_what_is_proven_of_each_classifier(client: Client) -> None:
    make_certified_season()
    found = client.get(f"/api/v1/challenges/{SLUG}/board").json()
    proven = found["ranked"][0]["certificate"]
    assert (proven["classifier"], proven["radii"][2], proven["accuracies"][2]) == ("smoothed", 0.5, 0.95)
    assert len(found["plain"]) == 5
    assert found["plain"][0]["certificate"] is None


def test_it_asks_the_same_number_of_queries_however_many_entries(client: Client) -> None:
    challenge, team = make_certified_challenge(examples=20), make_user("ada").teams.get()
    counts = []
    for size in (1, 6):
        for index in range(size):
            entry = complete(make_entry(challenge, team, f"{size}-{index}"), clean=1, left=(1, 1, 0.9, 0.9))
            prove(entry, 1.0, 0.9, 0.8, 0.6, 0.4, 0.2, empirical=0.9, sigma=0.5 if index % 2 else None)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(ADDRESS).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_an_entry_page_shows_what_is_proven_and_for_whom(client: Client) -> None:
    made = make_certified_season()
    name = "CNN, trained under noise of 0.5"
    text = client.get(f"/entries/{made[name].submission.public_id}/").content.decode()
    assert "rank 2 of 5" in text
    assert "What is proven" in text
    assert "This certificate is about the smoothed classifier" in text
    assert "95.0 %" in text
    assert "expected number of false certificates" in text
    refuted = client.get(f"/entries/{made['refuted'].submission.public_id}/").content.decode()
    assert "their certificates are void" in refuted


def test_a_report_from_before_radii_were_kept_records_nothing() -> None:
    challenge = make_certified_challenge()
    complete(make_entry(challenge, make_user("ada").teams.get(), "Old"), clean=0.9, left=(0.8, 0.8, 0.8, 0.8))
    assert not Certificate.objects.exists()
    assert [row.name for row in board(challenge).plain] == ["Old"]


def test_the_figure_keeps_its_keys_apart_and_escapes_names() -> None:
    lines = [ProofCurve(str(n), "<b>", ((0.0, 0.9), (1.0, 0.0))) for n in range(1, 5)]
    drawn = proof_curves(lines, norm="L2")
    heights = sorted(float(part.split('y="')[1].split('"')[0]) for part in drawn.split('<text class="proof-line"')[1:])
    assert all(b - a > 12 for a, b in pairwise(heights))
    assert "<b>" not in drawn
    assert proof_curves([ProofCurve("1", "x", ((0.0, 1.0),))], norm="L2") == ""
