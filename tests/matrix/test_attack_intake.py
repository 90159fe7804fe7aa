"""Entering an attack: the first look, what it refuses, and what it costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework.test import APIClient

from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.jobs import lines
from arena.jobs.judges import Line
from arena.jobs.models import Shard
from arena.jobs.sweeping import sweep
from arena.matrix.models import Cell, FirstLook
from arena.submissions.services import attempts_left, withdraw
from evaluator.errors import InputError, SubmissionError
from evaluator.records.cell_report import Violation
from evaluator.records.report import PlatformFailed, SubmissionFailed
from tests.web.backend_support import person, small_challenge, team_of
from tests.web.matrix_support import FakePlayer, attack, defend, look_once, play, upload_attack

pytestmark = pytest.mark.django_db(transaction=True)


class ArrayPlayer(FakePlayer):
    """Finds these violations in every array."""

    def __init__(self, *found: Violation | SubmissionError) -> None:
        super().__init__()
        self.found = found

    def check_array(self, *given: object) -> list[Violation]:
        for each in self.found:
            if isinstance(each, SubmissionError):
                raise each
        return [each for each in self.found if isinstance(each, Violation)]


@pytest.fixture
def challenge() -> Challenge:
    found = small_challenge()
    defend(found, person("alice"), name="One")
    return found


def test_an_attack_is_looked_at_before_it_plays(challenge: Challenge) -> None:
    bob = person("bob")
    mine = upload_attack(challenge, bob, name="breaks 1")
    trial = FirstLook.objects.get(submission=mine)
    assert (trial.verdict, trial.target.name, Cell.objects.count()) == ("", "One", 0)
    player = FakePlayer()
    assert look_once(player=player)
    trial.refresh_from_db()
    assert trial.verdict == "accepted"
    assert trial.report["examples"] == 5
    assert Cell.objects.count() == 1
    assert not look_once(player=player)


def test_a_broken_attack_is_refused_at_once_and_free_of_quota(challenge: Challenge) -> None:
    bob = person("bob")
    before = attempts_left(user=bob, team=team_of(bob), challenge=challenge)
    mine = upload_attack(challenge, bob, name="broken")
    assert attempts_left(user=bob, team=team_of(bob), challenge=challenge) == before - 1
    look_once(player=FakePlayer(plan=[SubmissionFailed("raised", "attack.py, line 2: KeyError")]))
    trial = FirstLook.objects.get(submission=mine)
    assert (trial.verdict, trial.reason, trial.detail) == ("refused", "raised", "attack.py, line 2: KeyError")
    assert attempts_left(user=bob, team=team_of(bob), challenge=challenge) == before
    assert Cell.objects.count() == 0
    upload_attack(challenge, bob, name="broken")


def test_a_slow_attack_is_accepted_and_shown_that_it_is_slow(challenge: Challenge) -> None:
    mine = upload_attack(challenge, person("bob"), name="slow")
    look_once(player=FakePlayer(plan=[SubmissionFailed("timeout", "did not return within 40 s.")]))
    trial = FirstLook.objects.get(submission=mine)
    assert (trial.verdict, trial.reason) == ("accepted", "timeout")
    assert "40 s" in trial.detail


def test_a_failure_of_the_platform_is_looked_at_again_and_refuses_nobody(challenge: Challenge) -> None:
    bob = person("bob")
    mine = upload_attack(challenge, bob, name="breaks 1")
    player = FakePlayer(plan=[PlatformFailed("sandbox", "no room")])
    look_once(player=player)
    Shard.objects.update(not_before=Now())
    look_once(player=player)
    assert FirstLook.objects.get(submission=mine).verdict == "accepted"


def test_a_look_whose_worker_died_is_taken_again(challenge: Challenge) -> None:
    upload_attack(challenge, person("bob"), name="breaks 1")
    assert lines.lease_first(Line.FIRST, owner="dies")
    Shard.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sweep()
    assert look_once(player=FakePlayer())


@pytest.mark.parametrize("by", ["name", "public_id"])
def test_an_array_names_its_target_by_name_or_id(challenge: Challenge, by: str) -> None:
    two = defend(challenge, person("carol"), name="Two")
    mine = attack(challenge, person("bob"), name="breaks 3", target=getattr(two, by))
    assert FirstLook.objects.get(submission=mine).target == two
    play()
    assert Cell.objects.filter(state="completed").count() == 2, "it plays every other defense too"


@pytest.mark.parametrize(("target", "words"), [("Nobody", "no standing defense has"), ("One", "several defenses have")])
def test_a_target_that_is_not_one_standing_defense_is_refused(challenge: Challenge, target: str, words: str) -> None:
    defend(challenge, person("carol"), name="One")
    with pytest.raises(InputError, match=words):
        upload_attack(challenge, person("bob"), name="x", target=target)


def test_every_violating_example_of_an_array_is_counted_and_named(challenge: Challenge) -> None:
    mine = upload_attack(challenge, person("bob"), name="breaks 1", target="One")
    found = Violation(kind="budget", count=3, ids=[4, 9, 31], detail="up to 0.4 from the image; 0.3 is allowed.")
    look_once(player=ArrayPlayer(found))
    trial = FirstLook.objects.get(submission=mine)
    assert trial.verdict == "accepted", "the other examples count"
    assert trial.violations == [found.model_dump()]


def test_an_array_that_cannot_be_read_or_of_which_nothing_counts_is_refused(challenge: Challenge) -> None:
    bob = person("bob")
    wrong = SubmissionError("shape", "has shape (3,); this challenge needs (40, 1, 28, 28).")
    upload_attack(challenge, bob, name="one", target="One")
    look_once(player=ArrayPlayer(wrong))
    nans = Violation(kind="non-finite", count=40, ids=list(range(40)), detail="NaN or Inf in the returned point.")
    upload_attack(challenge, bob, name="two", target="One")
    look_once(player=ArrayPlayer(nans))
    assert [(trial.verdict, trial.reason) for trial in FirstLook.objects.order_by("pk")] == [
        ("refused", "shape"),
        ("refused", "non-finite"),
    ]


def test_a_withdrawn_attack_is_not_looked_at(challenge: Challenge) -> None:
    mine = upload_attack(challenge, person("bob"), name="breaks 1")
    withdraw(submission=mine)
    assert not look_once(player=FakePlayer())


def test_a_team_out_of_attempts_cannot_attack(challenge: Challenge, settings: object) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 1  # type: ignore[attr-defined]
    bob = person("bob")
    attack(challenge, bob, name="breaks 1")
    with pytest.raises(InputError, match="within a day"):
        upload_attack(challenge, bob, name="breaks 2")


def test_the_api_tells_the_first_look_the_cells_and_the_ranks(challenge: Challenge) -> None:
    bob = person("bob")
    mine = attack(challenge, bob, name="breaks 1 2")
    attack(challenge, bob, name="breaks 2")
    play()
    client = APIClient()
    owner = APIClient(headers={"Authorization": f"Bearer {make_token(user=bob, name='t').secret}"})
    shown = owner.get(f"/api/v1/attacks/{mine.public_id}").json()
    assert (shown["verdict"], shown["format"], shown["team"]) == ("accepted", "python", "bob")
    [cell] = shown["cells"]
    assert (cell["state"], cell["accuracy_left"], cell["felled"]) == ("completed", 38 / 40, 2)
    matrix = client.get("/api/v1/challenges/mnist-linf/matrix").json()
    assert [attack["name"] for attack in matrix["attacks"]] == ["breaks 1 2", "breaks 2"]
    assert [square["broken"] for square in matrix["defenses"][0]["cells"]] == [2, 1]
    ranks = client.get("/api/v1/challenges/mnist-linf/rankings").json()
    first, second = ranks["attacks"]
    assert (first["rank"], first["mean"], first["optimality"], first["unique_breaks"]) == (1, 38 / 40, 1.0, 1)
    assert (second["rank"], second["mean"], second["optimality"], second["unique_breaks"]) == (2, 39 / 40, 0.5, 0)
    assert first["success_per_1000_rows"] == pytest.approx(1000 * 2 / 800)
    assert [(row["rank"], row["best_rank"], row["worst_rank"]) for row in ranks["defenses"]] == [(1, 1, 1)]
    assert client.get(f"/api/v1/attacks/{'0' * 26}").status_code == 404
