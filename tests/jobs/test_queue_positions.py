"""What an entry is told of its place in line is the order in which workers take work."""

from __future__ import annotations

import pytest

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.jobs import lines
from arena.jobs.clock import now
from arena.jobs.judges import Line
from arena.jobs.models import Shard, Trial
from arena.jobs.queries import live, live_of
from arena.matrix.models import Cell
from arena.submissions.models import Submission
from tests.web.backend_support import current, enter, person, small_challenge
from tests.web.matrix_support import attack, defend, play, upload_attack

pytestmark = pytest.mark.django_db


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


@pytest.fixture
def alice() -> User:
    return person("alice")


def positions() -> dict[int, int | None]:
    waiting = Evaluation.objects.filter(state=Evaluation.State.QUEUED)
    return {pk: found.queue_position for pk, found in live_of(waiting).items()}


def taken_in_order() -> list[object]:
    """Takes all work as a worker does, looks and replays first; whose work it was, each at its first time."""
    order: list[object] = []
    while lease := lines.lease_first(Line.FIRST, owner="w") or lines.lease_first(Line.OLDEST, owner="w"):
        work: object = lease.trial_id
        if lease.judge == Cell.Kind.TRANSFER:
            work = Trial.objects.get(pk=lease.trial_id).before_id
            Shard.objects.filter(pk=lease.shard_id).update(state=Shard.State.DONE)
            Trial.objects.filter(pk=lease.trial_id).update(state=Trial.State.COMPLETED)
        if work not in order:
            order.append(work)
    return order


def check_positions() -> None:
    told = positions()
    order = taken_in_order()
    assert told
    assert told == {pk: order.index(pk) + 1 for pk in told}


def test_an_entry_waits_for_earlier_ones_of_which_parts_are_left(challenge: Challenge, alice: User) -> None:
    enter(challenge, alice, name="first")
    assert lines.lease_first(Line.OLDEST, owner="other") is not None, "one of its four parts is taken"
    enter(challenge, alice, name="second")
    enter(challenge, alice, name="third")
    check_positions()


def test_an_entry_is_next_once_all_of_the_earlier_one_is_taken(challenge: Challenge, alice: User) -> None:
    enter(challenge, alice, name="first")
    second = current(enter(challenge, alice, name="second"))
    for expected in (2, 2, 2, 1):
        assert lines.lease_first(Line.OLDEST, owner="other") is not None
        assert live(second).queue_position == expected
    check_positions()


def test_a_part_that_is_retried_later_is_not_in_the_way_now(challenge: Challenge, alice: User) -> None:
    enter(challenge, alice, name="first")
    second = current(enter(challenge, alice, name="second"))
    Shard.objects.filter(trial__in=Evaluation.objects.filter(submission__name="first").values("key")).update(
        not_before=now().replace(year=2100)
    )
    assert live(second).queue_position == 1


def test_looks_at_attacks_come_first(challenge: Challenge, alice: User) -> None:
    defend(challenge, person("bob"), name="One")
    upload_attack(challenge, alice, name="breaks 1")
    enter(challenge, alice, name="second")
    check_positions()


def test_what_is_replayed_on_others_comes_first(challenge: Challenge, alice: User) -> None:
    defend(challenge, person("bob"), name="One", share=0.5)
    first, second = (enter(challenge, alice, name=name) for name in ("first", "second"))
    _replay_on(second)
    check_positions()
    assert first.pk != second.pk


def test_while_attacks_wait_to_play_none_is_shown_that_it_is_next(challenge: Challenge, alice: User) -> None:
    defend(challenge, person("bob"), name="One")
    attack(challenge, alice, name="breaks 1")
    second = current(enter(challenge, alice, name="second"))
    assert Shard.objects.filter(state=Shard.State.QUEUED).exists()
    assert live(second).queue_position == 2
    play()
    assert live(second).queue_position == 1


def test_the_number_of_queries_does_not_grow_with_the_line(
    challenge: Challenge, alice: User, django_assert_max_num_queries: object
) -> None:
    for number in range(5):
        enter(challenge, alice, name=f"entry {number}")
    with django_assert_max_num_queries(4):  # type: ignore[operator]
        assert len(positions()) == 5


def _replay_on(defense: Submission) -> None:
    """Makes what waits to be replayed wait on this defense alone."""
    origin = Submission.objects.get(name="One")
    Cell.objects.all().delete()
    cell = Cell.objects.create(
        judge=Cell.Kind.TRANSFER,
        before=current(defense),
        challenge=defense.challenge,
        defense=defense,
        attack=origin,
        evaluation=current(defense),
        team=defense.team,
        kind=Cell.Kind.TRANSFER,
        rules_digest=defense.challenge.rules_digest,
        examples=40,
    )
    Shard.objects.create(trial=cell, index=0, start=0, stop=40)
