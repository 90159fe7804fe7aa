"""What the official ensemble found on one defense is stored once and replayed on the others, on a new one first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from django.test import Client, override_settings

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.evaluations.services import enqueue
from arena.jobs.sweeping import sweep
from arena.leaderboards.queries import board, history
from arena.matrix import adversarial, transfers
from arena.matrix.models import Archive, Cell, Fall, Survival
from arena.matrix.queries import falls_of
from arena.running.listening import Listener
from arena.running.requests import Request
from arena.submissions.models import Submission
from arena.submissions.services import withdraw
from arena.web.figures import last_fall
from evaluator.records.adversarial_archive import AdversarialArchive
from evaluator.records.report import Completed, Outcome, PlatformFailed, SubmissionFailed
from tests.web.backend_support import FakeJudge, current, enter, person, small_challenge, work_once
from tests.web.matrix_support import FakePlayer, attack, inputs_of, play

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Finder(FakeJudge):
    """Its search breaks the examples of `finds`, and keeps what broke them; searched: names of the shards it was given."""

    finds: frozenset[int] = frozenset()
    searched: list[tuple[int, int]] = field(default_factory=list)

    def evaluate(self, request: Request, listener: Listener, /) -> Outcome:
        self.searched.append(request.shard)
        outcome = FakeJudge(share=1.0).evaluate(request, listener)
        assert isinstance(outcome, Completed)
        broken = [number for number in outcome.report.ids if number in self.finds]
        bits = [int(number not in self.finds) for number in outcome.report.ids]
        report = outcome.report.model_copy(update={"robust_bits": bits, "robust_accuracy": sum(bits) / len(bits)})
        return replace(outcome, report=report, adversarial=inputs_of(broken).to_bytes())


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def judged(challenge: Challenge, user: User, name: str, *finds: int, player: FakePlayer | None = None) -> Submission:
    """A defense with its verdict, and everything replayed that comes before and after it."""
    entered = enter(challenge, user, name=name)
    judge_all(Finder(finds=frozenset(finds)), player)
    return entered


def judge_all(judge: Finder, player: FakePlayer | None = None) -> None:
    player = player or FakePlayer()
    while work_once(judge=judge, player=player):
        pass
    play(player)


def kept(submission: Submission) -> list[int]:
    """The examples of which the ensemble's input is kept for this defense."""
    archive = Survival.objects.get(evaluation=current(submission)).archive
    return [] if archive is None else AdversarialArchive.from_bytes(adversarial.read(archive)).ids.tolist()


def robust(submission: Submission) -> float | None:
    return current(submission).robust_accuracy


def test_a_new_defense_faces_what_broke_another_before_its_own_search(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    first = judged(challenge, alice, "First", 1, 2, 31)
    twin = enter(challenge, bob, name="Twin")
    judge, player = Finder(), FakePlayer()
    assert work_once(judge=judge, player=player)
    assert (judge.searched, player.played) == ([], [("replay", "replay")])
    fall = Fall.objects.get(defense=twin)
    assert (fall.attack, fall.before, fall.after, fall.author) == (first, 40, 37, "replay from First")
    assert robust(twin) is None, "a fall is known before there is a verdict"
    judge_all(judge, player)
    assert judge.searched == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert robust(twin) == 37 / 40, "what a replay broke stays broken"
    assert current(twin).report["robust_accuracy"] == 1.0  # type: ignore[index]


def test_no_shard_is_searched_while_a_replay_waits_and_a_message_about_one_plays_it_first(challenge: Challenge) -> None:
    judged(challenge, person("alice"), "First", 1)
    twin = enter(challenge, person("bob"), name="Twin")
    Cell.objects.filter(defense=twin).update(state=Cell.State.RUNNING)
    cell = Cell.objects.get(defense=twin)
    held = cell.shards.get()
    held.state = held.State.LEASED
    held.save()
    judge = Finder()
    assert not work_once(judge=judge, only=current(twin).key), "another worker is at the replay"
    Cell.objects.update(state=Cell.State.COMPLETED)
    assert work_once(judge=judge, only=current(twin).key)


def test_a_re_evaluation_waits_for_replays_that_were_queued_before_it(challenge: Challenge) -> None:
    judged(challenge, person("alice"), "First", 1)
    twin = enter(challenge, person("bob"), name="Twin")
    again = enqueue(submission=twin)
    judge, player = Finder(), FakePlayer()
    assert Cell.objects.get(defense=twin).before_id == again.key
    assert work_once(judge=judge, player=player, only=again.key)
    assert (judge.searched, player.played) == ([], [("replay", "replay")])


def test_each_example_has_one_stored_input_however_often_it_was_found(challenge: Challenge) -> None:
    alice = person("alice")
    first = judged(challenge, alice, "First", 1, 2, 3)
    twin = judged(challenge, alice, "Twin", 2, 3, 4)
    assert (kept(first), kept(twin)) == ([1, 2, 3], [4])
    transfer = Cell.objects.get(defense=twin, attack=first)
    assert transfer.archive == Survival.objects.get(evaluation=current(first)).archive, "the twin's cell shows the same file"
    assert Archive.objects.count() == 2
    assert not Cell.objects.exclude(source=None).exists()


def test_the_history_of_a_defense_that_fell_first_begins_where_it_entered(challenge: Challenge) -> None:
    alice = person("alice")
    judged(challenge, alice, "First", 1, 2)
    twin = judged(challenge, alice, "Twin", 2, 3)
    told = [(event.cause, event.robust_accuracy, event.fallen, event.team) for event in history(twin)]
    assert told == [("entered", 1.0, 0, ""), ("by replay from First", 38 / 40, 2, ""), ("its own search", 37 / 40, 0, "")]
    assert last_fall(history(twin)) is None, "none since its verdict"


def test_a_later_verdict_is_replayed_on_standing_defenses_where_something_still_stands(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    first = judged(challenge, alice, "First", 1, 2)
    second = judged(challenge, bob, "Second", 2, 9)
    cell = Cell.objects.get(defense=first, attack=second)
    assert (cell.team.slug, cell.state, cell.broken) == ("bob", "completed", 1)
    assert robust(first) == 37 / 40
    assert [(event.cause, event.fallen) for event in history(first)[1:]] == [("by replay from Second", 1)]
    third = judged(challenge, bob, "Third")
    assert not Cell.objects.filter(attack=third).exists(), "it left nothing to replay"


def test_attacks_still_find_inputs_of_their_own_kept_beside_the_ensembles(challenge: Challenge) -> None:
    first = judged(challenge, person("alice"), "First", 1, 2)
    mine = attack(challenge, person("bob"), name="breaks 1 5")
    play()
    archive = Cell.objects.get(attack=mine).archive
    assert archive
    assert AdversarialArchive.from_bytes(adversarial.read(archive)).ids.tolist() == [1, 5]
    assert robust(first) == 37 / 40


def test_a_re_evaluation_takes_over_what_earlier_verdicts_found(challenge: Challenge) -> None:
    first = judged(challenge, person("alice"), "First", 1, 2)
    enqueue(submission=first)
    judge_all(Finder(finds=frozenset({2, 3})))
    assert sorted(kept(first)) == [1, 2, 3]
    assert Archive.objects.count() == 1, "what nothing refers to any more is deleted"
    assert robust(first) == 37 / 40


def test_only_the_nearest_are_replayed_before_the_search_and_the_rest_after_it(
    challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "FIRST", 2)
    alice, bob = person("alice"), person("bob")
    weak, strong = judged(challenge, bob, "Weak", 1, 2, 3), judged(challenge, bob, "Strong", 30)
    parent = judged(challenge, alice, "Parent", 20, 21)
    Evaluation.objects.filter(submission=strong).update(robust_accuracy=0.99)
    child = enter(challenge, alice, name="Child")
    assert set(Cell.objects.filter(defense=child).values_list("attack", flat=True)) == {parent.pk, strong.pk}
    judge_all(Finder(finds=frozenset({1})))
    assert Cell.objects.filter(defense=child, attack=weak).exists(), "examples 2 and 3 still stood"
    assert robust(child) == 34 / 40


@override_settings(REDOUBT_MAX_ATTEMPTS=1)
def test_a_replay_that_the_platform_cannot_play_does_not_stop_the_search(challenge: Challenge) -> None:
    judged(challenge, person("alice"), "First", 1)
    twin = judged(challenge, person("bob"), "Twin", player=FakePlayer(plan=[PlatformFailed("sandbox", "no room")]))
    assert Cell.objects.get(defense=twin).state == "platform_failed"
    assert robust(twin) == 1.0


def test_falls_of_an_entry_that_then_fails_are_not_on_the_history_page(challenge: Challenge) -> None:
    judged(challenge, person("alice"), "First", 1)
    twin = enter(challenge, person("bob"), name="Twin")
    while work_once(judge=FakeJudge(plan=[SubmissionFailed("died", "gone")]), player=FakePlayer()):
        pass
    assert Fall.objects.filter(defense=twin).exists()
    assert falls_of(challenge) == []


def test_verdicts_that_were_written_at_the_same_moment_find_each_other_in_the_sweep(challenge: Challenge) -> None:
    alice = person("alice")
    judged(challenge, alice, "First", 1)
    judged(challenge, alice, "Second", 2)
    expected = set(Cell.objects.values_list("defense", "attack"))
    Cell.objects.all().delete()
    Survival.objects.update(robust=bytes([255] * 5))
    sweep()
    assert set(Cell.objects.values_list("defense", "attack")) == expected
    sweep()
    assert Cell.objects.count() == len(expected) == 2


def test_a_withdrawn_defense_faces_nothing_more_and_what_was_found_on_it_stays(challenge: Challenge) -> None:
    alice = person("alice")
    first = judged(challenge, alice, "First", 1)
    withdraw(submission=first)
    twin = judged(challenge, alice, "Twin", 2)
    assert not Cell.objects.filter(defense=first).exists()
    assert robust(twin) == 38 / 40


def test_every_page_that_tells_of_a_replay_says_where_it_came_from(challenge: Challenge, client: Client) -> None:
    alice = person("alice")
    first = judged(challenge, alice, "First", 1, 2)
    twin = judged(challenge, alice, "Twin", 3)
    cell = Cell.objects.get(defense=twin, attack=first)
    entry = client.get(f"/entries/{twin.public_id}/").content.decode()
    assert "What the official ensemble had found on 1 other entry" in entry
    assert f'href="/cells/{cell.public_id}/"><bdi>First</bdi></a>' in entry
    assert "Submitted attacks" not in entry
    page = client.get(f"/cells/{cell.public_id}/").content.decode()
    assert "What the official ensemble found on <bdi>First</bdi>" in page
    falls = client.get("/challenges/mnist-linf/history/").content.decode()
    assert "replay from First" in falls
    assert "found by the official ensemble" in falls
    row = next(row for row in board(challenge).ranked if row.name == "Twin")
    assert row.robust_accuracy == 37 / 40
