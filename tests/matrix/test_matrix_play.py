"""The living matrix: who plays whom, what a fall is, and what happens when workers die."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from arena.accounts.models import User
from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.evaluations.services import enqueue
from arena.jobs import lines
from arena.jobs.judges import Line
from arena.jobs.models import Shard
from arena.jobs.sweeping import sweep
from arena.leaderboards.queries import board, history
from arena.matrix import adversarial
from arena.matrix.models import Archive, Cell, Fall, Survival
from arena.matrix.services import fill
from arena.rankings.bits import count, unpack
from arena.submissions.services import withdraw
from evaluator.errors import Cancelled
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.cell_report import DefenseFailed
from evaluator.records.report import PlatformFailed, SubmissionFailed
from tests.web.backend_support import FakeJudge, current, person, small_challenge, work_once
from tests.web.matrix_support import FakePlayer, attack, defend, play, play_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def robust(submission: object) -> float | None:
    return current(submission).robust_accuracy  # type: ignore[arg-type]


def test_an_accepted_attack_plays_every_standing_defense_and_robust_accuracy_falls(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    one, two = defend(challenge, alice, name="One"), defend(challenge, bob, name="Two")
    mine = attack(challenge, bob, name="breaks 1 2 33")
    play()
    assert {(cell.defense_id, cell.state) for cell in Cell.objects.all()} == {(one.pk, "completed"), (two.pk, "completed")}
    assert robust(one) == robust(two) == 37 / 40
    cell = Cell.objects.get(defense=one)
    assert unpack(bytes(cell.breaks or b""), 40).nonzero()[0].tolist() == [1, 2, 33]
    assert (cell.broken, cell.left, cell.forward_rows) == (3, 37, 400)
    fall = Fall.objects.get(defense=one)
    assert (fall.attack, fall.before, fall.after, fall.fallen) == (mine, 40, 37, 3)
    evaluation = current(one)
    assert evaluation.interval_low is not None
    assert evaluation.interval_low < 37 / 40 < (evaluation.interval_high or 0)
    assert evaluation.report["robust_accuracy"] == 1.0, "the signed report stays what the ensemble found"


def test_a_fall_is_in_the_history_with_the_attack_that_caused_it_and_moves_the_board(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    one = defend(challenge, alice, name="One")
    two = defend(challenge, alice, name="Two", share=0.97)
    assert [row.submission_id for row in board(challenge).ranked] == [one.public_id, two.public_id]
    attack(challenge, bob, name="breaks 0 1 2 3 4 5 6 7")
    lease = lines.lease_first(Line.FAIR, owner="nobody")
    assert lease
    Cell.objects.filter(defense=two).update(state=Cell.State.CANCELLED)
    Shard.objects.update(state=Shard.State.QUEUED)
    play()
    assert [row.submission_id for row in board(challenge).ranked] == [two.public_id, one.public_id]
    entered, fell = history(one)
    assert (entered.cause, fell.cause, fell.team, fell.fallen) == ("entered", "by breaks 0 1 2 3 4 5 6 7", "bob", 8)


def test_robust_accuracy_never_rises_and_only_news_is_an_event(challenge: Challenge) -> None:
    one = defend(challenge, person("alice"), name="One")
    bob = person("bob")
    for name, left in (("breaks 1 2", 38), ("breaks 1", 38), ("breaks 2 3", 37), ("nothing", 37)):
        attack(challenge, bob, name=name)
        play()
        assert robust(one) == left / 40
    assert [(fall.before, fall.after) for fall in Fall.objects.all()] == [(40, 38), (38, 37)]


def test_a_new_defense_faces_every_standing_attack_and_first_its_stored_inputs(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    defend(challenge, alice, name="One")
    attack(challenge, bob, name="breaks 5 6")
    play()
    two = defend(challenge, alice, name="Two")
    player = play()
    assert player.played[0][1] == "replay", "it is nearly free and often breaks most"
    assert [kind for _, kind in player.played[1:]] == ["python"] * 4
    fall = Fall.objects.get(defense=two)
    assert (fall.cell.kind, fall.fallen, robust(two)) == ("replay", 2, 38 / 40)
    assert not Archive.objects.filter(cells=None).exists(), "the merged copy that was replayed is not stored for ever"
    assert {cell.team.slug for cell in Cell.objects.filter(defense=two)} == {"alice"}, "whoever came later pays"


def test_a_re_evaluation_does_not_raise_what_fell(challenge: Challenge) -> None:
    one = defend(challenge, person("alice"), name="One")
    attack(challenge, person("bob"), name="breaks 7 8 9")
    play()
    enqueue(submission=one)
    while work_once(judge=FakeJudge(share=1.0)):
        pass
    assert current(one).state == Evaluation.State.COMPLETED
    assert robust(one) == 37 / 40
    assert [event.robust_accuracy for event in history(one)] == [1.0, 37 / 40, 37 / 40]
    assert play().played == [], "the same rules: what was played stands"


def test_an_attack_accepted_while_a_verdict_was_written_is_found_by_the_sweep(challenge: Challenge) -> None:
    defend(challenge, person("alice"), name="One")
    attack(challenge, person("bob"), name="breaks 1")
    Cell.objects.all().delete()
    sweep()
    assert Cell.objects.count() == 1
    assert fill(challenge) == 0


def test_an_input_is_kept_only_where_none_is_kept_yet_and_a_file_only_once(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    one, two = defend(challenge, alice, name="One"), defend(challenge, alice, name="Two")
    attack(challenge, bob, name="breaks 1 2")
    attack(challenge, bob, name="breaks 2 3")
    play()
    kept = {
        defense: [
            AdversarialArchive.from_bytes(adversarial.read(cell.archive)).ids.tolist()
            for cell in Cell.objects.filter(defense=defense).order_by("attack_id")
            if cell.archive
        ]
        for defense in (one, two)
    }
    assert kept == {one: [[1, 2], [3]], two: [[1, 2], [3]]}
    whole = [sorted(AdversarialArchive.from_bytes(adversarial.read(each)).ids.tolist()) for each in Archive.objects.all()]
    assert sorted(whole) == [[1, 2], [2, 3], [3]], "the same inputs against two defenses are one file; all are compared"
    assert [count(bytes(survival.witnessed)) for survival in Survival.objects.all()] == [3, 3]


def test_a_dead_worker_loses_nothing(challenge: Challenge) -> None:
    one = defend(challenge, person("alice"), name="One")
    attack(challenge, person("bob"), name="breaks 1 11 21 31")
    play_once(player=FakePlayer())
    lease = lines.lease_first(Line.FAIR, owner="dies")
    assert lease
    Shard.objects.filter(pk=lease.shard_id).update(lease_until=timezone.now() - timedelta(seconds=1))
    sweep()
    assert len(play().played) == 3, "what was done is not done again"
    assert robust(one) == 36 / 40


def test_a_failure_of_the_platform_is_tried_again_and_never_counts(challenge: Challenge) -> None:
    one = defend(challenge, person("alice"), name="One")
    attack(challenge, person("bob"), name="breaks 1")
    play(FakePlayer(plan=[PlatformFailed("sandbox", "no room"), RuntimeError("a bug of ours"), Cancelled("stopped")]))
    assert Cell.objects.get().state == "completed"
    assert robust(one) == 39 / 40


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(SubmissionFailed("raised", "KeyError"), "attack_failed"), (DefenseFailed("died", "gone"), "defense_failed")],
)
def test_whose_fault_a_failed_cell_was_is_kept_apart(challenge: Challenge, outcome: SubmissionFailed, state: str) -> None:
    one = defend(challenge, person("alice"), name="One")
    attack(challenge, person("bob"), name="breaks 1 2")
    play(FakePlayer(plan=[outcome]))
    cell = Cell.objects.get()
    assert (cell.state, cell.reason, cell.detail) == (state, outcome.reason, outcome.detail)
    assert robust(one) == 1.0
    for name, reads in (("alice", state == "defense_failed"), ("bob", state == "attack_failed")):
        client = Client()
        client.force_login(User.objects.get(username=name))
        page = client.get(f"/cells/{cell.public_id}/").content.decode()
        assert (f"<p>{outcome.detail}" in page) == reads, "what an entry said when it failed is its team's"
    headers = {"Authorization": f"Bearer {make_token(user=User.objects.get(username='bob'), name='t').secret}"}
    (told,) = Client().get(f"/api/v1/attacks/{cell.attack.public_id}", headers=headers).json()["cells"]
    assert told["detail"] == ("KeyError" if state == "attack_failed" else "")


def test_withdrawing_an_attack_stops_it_and_keeps_what_it_found(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    one = defend(challenge, alice, name="One")
    mine = attack(challenge, bob, name="breaks 1")
    play()
    defend(challenge, alice, name="Two")
    withdraw(submission=mine)
    assert play().played == []
    assert robust(one) == 39 / 40
    assert set(Cell.objects.exclude(defense=one).values_list("state", flat=True)) == {"cancelled"}


def test_teams_take_turns_however_much_one_of_them_queued(challenge: Challenge) -> None:
    alice = person("alice")
    defend(challenge, alice, name="One")
    bob, carol = person("bob"), person("carol")
    for number in range(3):
        attack(challenge, bob, name=f"bob breaks {number}")
    attack(challenge, carol, name="carol breaks 9")
    owners = []
    for _ in range(8):
        lease = lines.lease_first(Line.FAIR, owner="a")
        assert lease
        owners.append(Cell.objects.get(trial=lease.trial_id).team.slug)
    assert sorted(owners[:2]) == sorted(owners[2:4]) == sorted(owners[4:6]) == ["bob", "carol"]


def test_cells_that_can_move_a_rank_come_first(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    defend(challenge, alice, name="Far ahead")
    close = [defend(challenge, alice, name=f"Close {number}", share=0.5) for number in range(2)]
    Survival.objects.filter(evaluation__submission=close[0]).update(
        robust=bytes(Survival.objects.get(evaluation__submission=close[1]).robust)
    )
    attack(challenge, bob, name="breaks 1")
    lease = lines.lease_first(Line.FAIR, owner="a")
    assert lease
    assert Cell.objects.get(trial=lease.trial_id).defense in close
