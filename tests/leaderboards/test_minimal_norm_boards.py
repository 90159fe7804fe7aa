"""Minimal-norm boards rank attacks by how near they come, not by how much they break."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from arena.leaderboards.attacks import attack_board
from evaluator.errors import InputError
from evaluator.manifests.spec import Challenge, parse_toml
from tests.web.backend_support import person, small_challenge
from tests.web.matrix_support import FakePlayer, attack, defend, play

GOAL = {"kind": "minimal-norm"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("goal", [GOAL, None], ids=["minimal norm", "any wrong class"])
def test_a_nearer_attack_ranks_first_where_distance_is_the_goal(goal: dict[str, object] | None, client: Client) -> None:
    challenge = small_challenge(goal=goal, examples=8, shard=8)
    defend(challenge, person("dora"), name="standing")
    attack(challenge, person("far"), name="breaks 0 1 2 3 4 5")
    play(FakePlayer(distance=0.29))
    attack(challenge, person("near"), name="breaks 0 1 2 3 4")
    play(FakePlayer(distance=0.1))
    first, second = attack_board(challenge)
    assert (first.rank, second.rank) == (1, 2)
    page = client.get(reverse("web:attacks", args=(challenge.slug,))).content.decode()
    if goal is None:
        assert first.attack.name == "breaks 0 1 2 3 4 5"
        assert first.median_distance is None
        assert "Median distance" not in page
        return
    assert first.attack.name == "breaks 0 1 2 3 4"
    assert first.median_distance == pytest.approx(0.1)
    assert first.play.mean == pytest.approx(1 - 5 / 8 * (1 - 0.1 / 0.3))
    assert second.play.mean == pytest.approx(1 - 6 / 8 * (1 - 0.29 / 0.3))
    assert "Median distance" in page
    assert "0.1000" in page
    ranking = client.get(f"/api/v1/challenges/{challenge.slug}/rankings").json()
    assert [row["median_distance"] for row in ranking["attacks"]] == pytest.approx([0.1, 0.29])


def test_an_attack_that_breaks_less_than_half_has_no_median(db: None) -> None:
    challenge = small_challenge(goal=GOAL, examples=8, shard=8)
    defend(challenge, person("dora"), name="standing")
    attack(challenge, person("few"), name="breaks 0 1 2")
    play(FakePlayer(distance=0.1))
    (row,) = attack_board(challenge)
    assert row.rank == 1
    assert row.median_distance is None


def test_a_minimal_norm_board_needs_a_norm() -> None:
    text = 'title = "Near"\n[data]\ndataset = "mnist"\nexamples = 3\n[threat]\nkind = "spatial"\nepsilon = 0.5\n'
    with pytest.raises(InputError, match=r"goal\.kind"):
        parse_toml(f'{text}[goal]\nkind = "minimal-norm"\n'.encode(), Challenge, where="challenge.toml")
