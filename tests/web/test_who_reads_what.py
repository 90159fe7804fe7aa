"""Details of a failure are told to the teams concerned and to organisers; lists count what may be seen."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from arena.accounts.models import User
from arena.accounts.queries import with_counts
from arena.accounts.services import make_token
from arena.challenges.models import Challenge
from arena.evaluations.entries import measured_under_other_rules
from arena.evaluations.models import Evaluation
from arena.jobs.queries import log_text
from arena.leaderboards.overviews import overviews
from arena.leaderboards.queries import board, histories
from arena.matrix.models import Cell, FirstLook
from arena.submissions.services import withdraw
from evaluator.records.intervals import clopper_pearson
from tests.web.backend_support import current, enter, person, small_challenge
from tests.web.matrix_support import attack, defend, play

pytestmark = pytest.mark.django_db
SECRET = "secret path /home/alice"
READERS = {"alice": True, "bob": False, "charlie": False, None: False, "olga": True}  # Alice entered the attack


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


@pytest.fixture
def people() -> dict[str, User]:
    made = {name: person(name) for name in ("alice", "bob", "charlie", "olga")}
    User.objects.filter(username="olga").update(is_staff=True)
    return {name: User.objects.get(pk=user.pk) for name, user in made.items()}


def page(address: str, user: User | None) -> str:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client.get(address).content.decode()


def api(address: str, user: User | None) -> Any:
    headers = {} if user is None else {"Authorization": f"Bearer {make_token(user=user, name='t').secret}"}
    return Client().get(f"/api/v1/{address}", headers=headers).json()


def test_why_an_attack_was_refused_is_reported_to_its_team(challenge: Challenge, people: dict[str, User]) -> None:
    defend(challenge, people["bob"], name="One")
    mine = attack(challenge, people["alice"], name="breaks 1")
    FirstLook.objects.update(state=FirstLook.State.SUBMISSION_FAILED, reason="crash", detail=SECRET)
    for name, told in READERS.items():
        reader = people.get(name) if name else None
        assert (SECRET in page(f"/entries/{mine.public_id}/", reader)) == told, name
        assert (api(f"attacks/{mine.public_id}", reader)["detail"] == SECRET) == told, name


def test_why_an_attack_failed_in_a_cell_is_reported_to_its_team(challenge: Challenge, people: dict[str, User]) -> None:
    defend(challenge, people["bob"], name="One")
    mine = attack(challenge, people["alice"], name="breaks 1")
    play()
    cell = Cell.objects.get(kind=Cell.Kind.PLAY)
    Cell.objects.update(state=Cell.State.ATTACK_FAILED, left=None, broken=None, reason="crash", detail=SECRET)
    for name, told in READERS.items():
        assert (SECRET in page(f"/cells/{cell.public_id}/", people.get(name) if name else None)) == told, name
    for name, told in READERS.items():
        [shown] = api(f"attacks/{mine.public_id}", people.get(name) if name else None)["cells"]
        assert (shown["detail"] == SECRET) == told, name


def test_why_a_defense_failed_is_reported_to_its_team_in_lists_too(challenge: Challenge, people: dict[str, User]) -> None:
    mine = enter(challenge, people["alice"])
    Evaluation.objects.update(state=Evaluation.State.SUBMISSION_FAILED, reason="load", detail=SECRET)
    for name, told in READERS.items():
        reader = people.get(name) if name else None
        shown = api(f"submissions/{mine.public_id}", reader)["evaluation"]
        assert (shown["reason"], shown["detail"] == SECRET) == ("load", told), name
        assert (SECRET in page(f"/entries/{mine.public_id}/", reader)) == told, name
        for address in ("/", "/teams/", "/teams/alice/", "/challenges/mnist-linf/"):
            assert SECRET not in page(address, reader), f"{name} at {address}"


def test_what_the_code_printed_is_read_in_the_order_of_the_images(challenge: Challenge, people: dict[str, User]) -> None:
    evaluation = current(enter(challenge, people["alice"]))
    for index, said in ((2, "third"), (0, "first")):
        evaluation.shards.filter(index=index).update(log=said)
    assert log_text(evaluation) == "[examples 0 to 9]\nfirst\n[examples 20 to 29]\nthird"


def test_teams_are_counted_by_what_everybody_may_see(challenge: Challenge, people: dict[str, User]) -> None:
    hidden = small_challenge("mnist-l2")
    first, _ = enter(challenge, people["alice"], name="one"), enter(challenge, people["alice"], name="two")
    enter(hidden, people["alice"], name="hidden")
    enter(hidden, people["bob"], name="hidden too")
    Challenge.objects.filter(pk=hidden.pk).update(published=False)
    withdraw(submission=first)
    assert [(team.name, team.entry_count, team.member_count) for team in with_counts()] == [("alice", 1, 1)]


def test_a_withdrawn_entry_leaves_its_teams_page(challenge: Challenge, people: dict[str, User]) -> None:
    gone = enter(challenge, people["alice"], name="Gone CNN")
    enter(challenge, people["alice"], name="Here CNN")
    withdraw(submission=gone)
    shown = page("/teams/alice/", None)
    assert ("Gone CNN" in shown, "Here CNN" in shown) == (False, True)


def test_the_front_page_leads_with_what_the_board_leads_with(challenge: Challenge, people: dict[str, User]) -> None:
    """Neither an entry that left, nor a verdict that another replaced, nor one of earlier rules, however good it was."""
    for name, change in (("left", "withdrawn"), ("replaced", "current"), ("outdated", "rules"), ("stands", "")):
        entry = defend(challenge, people["alice"], name=name)
        shares = {"robust_accuracy": 0.5 if name == "stands" else 0.99}
        if change == "rules":
            shares["rules_digest"] = "f" * 64  # type: ignore[assignment]
        Evaluation.objects.filter(submission=entry).update(**shares)
        if change == "withdrawn":
            withdraw(submission=entry)
        if change == "current":
            Evaluation.objects.filter(submission=entry).update(current=False)
    [overview] = overviews([challenge])
    assert overview.leader is not None
    assert (overview.leader.name, overview.ranked) == ("stands", 1)
    found = board(challenge)
    assert ([row.name for row in found.ranked], [row.name for row in found.unverified]) == (["stands"], ["outdated"])


def test_only_what_was_measured_under_other_rules_is_to_be_judged_again(challenge: Challenge, people: dict[str, User]) -> None:
    old, _ = defend(challenge, people["alice"], name="old"), defend(challenge, people["alice"], name="of today")
    assert list(measured_under_other_rules(challenge)) == []
    Evaluation.objects.filter(submission=old).update(rules_digest="f" * 64)
    assert list(measured_under_other_rules(challenge)) == [old]


def test_the_history_of_one_challenge_holds_nothing_of_another(challenge: Challenge, people: dict[str, User]) -> None:
    other = small_challenge("mnist-l2")
    for each in (challenge, other):
        defend(each, people["bob"], name="One")
        attack(each, people["alice"], name="breaks 1")
    play()
    assert set(histories(challenge)) == {row.submission_id for row in board(challenge).ranked}


def test_the_interval_on_the_board_is_the_95_percent_one_of_what_stands_now(
    challenge: Challenge, people: dict[str, User]
) -> None:
    entry = defend(challenge, people["bob"], name="One")
    assert board(challenge).ranked[0].interval_high == 1.0
    attack(challenge, people["alice"], name="breaks 1 2 3")
    play()
    [row] = board(challenge).ranked
    assert row.robust_accuracy == 37 / 40
    assert (row.interval_low, row.interval_high) == pytest.approx((0.7961353, 0.9842578), abs=1e-6)
    assert (row.interval_low, row.interval_high) == clopper_pearson(37, 40, confidence=0.95)
    assert current(entry).interval_low == row.interval_low
