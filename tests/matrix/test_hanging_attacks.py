"""Attacks that hold a worker: nobody waits for them, and their time is not free."""

from __future__ import annotations

import threading

import pytest
from django.db.models.functions import Now
from django.test import Client

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.jobs import lines
from arena.jobs.judges import Line
from arena.jobs.lines import FREE_SECONDS, LAST
from arena.jobs.models import Shard, Trial
from arena.jobs.worker import Turns
from arena.matrix.models import Cell, FirstLook
from arena.matrix.services import fill, reprioritise
from arena.submissions.models import Submission
from arena.submissions.services import attempts_left
from evaluator.records.report import SubmissionFailed
from tests.web.backend_support import FakeJudge, enter, judged_by, person, small_challenge, team_of
from tests.web.matrix_support import FakePlayer, attack, defend, look_once, play, play_once, upload_attack

pytestmark = pytest.mark.django_db(transaction=True)
HANGS = SubmissionFailed("timeout", "did not return within 1800 s.")
RAISES = SubmissionFailed("raised", "attack.py, line 2: RuntimeError")


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def took(seconds: float, submission: Submission) -> None:
    """The first look at it ended just now, after so many seconds."""
    trial = FirstLook.objects.get(submission=submission).key
    Shard.objects.filter(trial=trial).update(seconds=seconds, finished=Now())


def first(line: Line) -> int | None:
    lease = lines.lease_first(line, owner="somebody")
    return None if lease is None else Trial.objects.get(pk=lease.trial_id).team_id


def test_a_look_that_was_refused_counts_against_the_quota_once_it_held_a_worker_for_more_than_seconds(
    challenge: Challenge,
) -> None:
    defend(challenge, person("alice"), name="One")
    bob = person("bob")
    before = attempts_left(user=bob, team=team_of(bob), challenge=challenge)
    for number, (seconds, left) in enumerate(((FREE_SECONDS, before), (FREE_SECONDS + 1, before - 1), (36.0, before - 2))):
        entered = upload_attack(challenge, bob, name=f"sleeps {number}")
        look_once(FakePlayer(plan=[RAISES]))
        took(seconds, entered)
        assert attempts_left(user=bob, team=team_of(bob), challenge=challenge) == left
    page = Client().get(f"/entries/{entered.public_id}/").content.decode()
    assert "It held a worker for a while and counts against your quota." in page


def test_six_uploads_that_sleep_hold_up_neither_other_uploads_nor_cells_nor_evaluations(challenge: Challenge) -> None:
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    defend(challenge, alice, name="One")
    for number in range(2):
        slept = upload_attack(challenge, bob, name=f"slept {number}")
        look_once(FakePlayer(plan=[RAISES]))
        took(36.0, slept)
    for number in range(4):
        upload_attack(challenge, bob, name=f"sleeps {number}")
    hers = upload_attack(challenge, carol, name="breaks 1")
    assert first(Line.FIRST) == hers.team_id, "entered last, looked at first"
    assert first(Line.FIRST) is None, "his wait with the cells"
    assert first(Line.FAIR) == team_of(bob).pk


def test_of_two_teams_that_upload_the_one_served_least_is_looked_at_first(challenge: Challenge) -> None:
    defend(challenge, person("alice"), name="One")
    his = upload_attack(challenge, person("bob"), name="one")
    look_once(FakePlayer())
    took(20.0, his)
    Cell.objects.all().delete()
    upload_attack(challenge, User.objects.get(username="bob"), name="two")
    hers = upload_attack(challenge, person("carol"), name="three")
    assert [first(Line.FIRST), first(Line.FIRST)] == [hers.team_id, his.team_id]


def test_a_worker_takes_something_else_after_each_look(challenge: Challenge) -> None:
    alice = person("alice")
    defend(challenge, alice, name="One")
    for name in ("bob", "carol", "dan"):
        upload_attack(challenge, person(name), name="nothing")
    enter(challenge, alice, name="Two")
    turns, seen = Turns(threading.Event()), []
    player, judge = FakePlayer(), FakeJudge()
    with judged_by(judge, player=player):
        for _ in range(4):
            before = FirstLook.objects.filter(state=FirstLook.State.COMPLETED).count()
            assert turns.take()
            seen.append(FirstLook.objects.filter(state=FirstLook.State.COMPLETED).count() > before)
    assert seen == [True, False, True, False]


def hanging(challenge: Challenge, *, defenses: int = 3) -> Submission:
    alice = person("alice")
    for number in range(defenses):
        defend(challenge, alice, name=f"Defense {number}")
    return attack(challenge, person("bob"), name="hangs")


def test_an_attack_that_hangs_waits_behind_everybody_after_one_defense_and_ends_after_two(challenge: Challenge) -> None:
    mine = hanging(challenge, defenses=4)
    play_once(FakePlayer(plan=[HANGS]))
    waiting = Cell.objects.filter(attack=mine, state=Cell.State.QUEUED)
    assert set(waiting.values_list("priority", flat=True)) == {LAST}
    reprioritise(challenge)
    assert set(waiting.values_list("priority", flat=True)) == {LAST}, "a fall elsewhere brings it forward no more"
    other = attack(challenge, person("carol"), name="breaks 1")
    Shard.objects.filter(trial__team=team_of(User.objects.get(username="carol"))).update(seconds=10**6, finished=Now())
    assert first(Line.FAIR) == other.team_id, "however much that team was served"
    Shard.objects.filter(state=Shard.State.LEASED).update(state=Shard.State.DONE)
    Cell.objects.filter(attack=other).update(state=Cell.State.CANCELLED)
    play_once(FakePlayer(plan=[HANGS]))
    ends = Cell.objects.filter(attack=mine).values_list("state", "reason")
    assert sorted(ends) == [("attack_failed", "not played")] * 2 + [("attack_failed", "timeout")] * 2
    defend(challenge, User.objects.get(username="alice"), name="Later")
    assert fill(challenge) == 0
    assert Cell.objects.filter(attack=mine).count() == 4, "a new defense is not held up by it either"


def test_an_attack_that_finishes_somewhere_is_moved_back_and_never_ended_by_slow_defenses(challenge: Challenge) -> None:
    mine = hanging(challenge, defenses=4)
    player = play(FakePlayer(plan=[None] * 4 + [HANGS, HANGS]))
    assert len(player.played) >= 4
    states = list(Cell.objects.filter(attack=mine).values_list("state", flat=True))
    assert states.count("attack_failed") == 2
    assert states.count("completed") == 2


def test_an_attack_that_used_its_budget_of_seconds_waits_behind_everybody(challenge: Challenge) -> None:
    mine = hanging(challenge)
    play_once(FakePlayer())
    while Cell.objects.filter(attack=mine, state=Cell.State.COMPLETED).count() == 0:
        play_once(FakePlayer())
    budget = challenge.spec.limits.attack_seconds
    done = Cell.objects.get(attack=mine, state=Cell.State.COMPLETED)
    Shard.objects.filter(trial=done.key).update(seconds=budget + 1)
    while Cell.objects.filter(attack=mine, state=Cell.State.COMPLETED).count() == 1:
        play_once(FakePlayer())
    assert Cell.objects.get(attack=mine, state=Cell.State.QUEUED).priority == LAST


def test_an_attack_that_was_slow_at_its_first_look_starts_at_the_end_of_the_line(challenge: Challenge) -> None:
    defend(challenge, person("alice"), name="One")
    mine = upload_attack(challenge, person("bob"), name="slow")
    look_once(FakePlayer(plan=[SubmissionFailed("timeout", "did not return within 40 s.")]))
    assert Cell.objects.get(attack=mine).priority == LAST


def test_the_budget_of_seconds_is_on_the_rules_page_and_beside_the_form(challenge: Challenge) -> None:
    alice = person("alice")
    client = Client()
    client.force_login(alice)
    rules = client.get(f"/challenges/{challenge.slug}/rules/").content.decode()
    form = client.get(f"/challenges/{challenge.slug}/submit/?kind=attack").content.decode()
    limits = challenge.spec.limits
    assert limits.attack_seconds == 8 * limits.seconds
    assert "before it waits behind others" in rules
    assert "it waits behind others" in form
    assert "What is refused within 10 seconds counts against no quota." in form
