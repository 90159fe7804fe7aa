"""Others' inputs win nothing, nor does a team's own defense: whose results count in an attack's figures."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from django.test import Client

from arena.accounts.models import User
from arena.accounts.services import add_member, make_team
from arena.challenges.models import Challenge
from arena.leaderboards.attacks import AttackRow, attack_board
from arena.matrix.adversarial import unpack_envelope
from arena.matrix.defense_queries import only_its_own, played_against
from arena.matrix.models import Cell, Repeat, Survival
from arena.rankings.bits import packed_union, unpack
from arena.submissions.kinship import kinship
from arena.submissions.models import Submission
from arena.submissions.services import withdraw
from tests.web.backend_support import current, person, small_challenge
from tests.web.matrix_support import FakePlayer, attack, defend, play

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


def rows(challenge: Challenge) -> dict[str, AttackRow]:
    return {row.attack.public_id: row for row in attack_board(challenge)}


def figures(row: AttackRow) -> tuple[Any, ...]:
    return row.rank, row.play.mean, row.play.worst, row.optimality, row.unique, row.caused, row.examples_felled


def original(challenge: Challenge) -> tuple[Submission, Submission]:
    """An attack that is first, and one that is second, on a defense of somebody else."""
    defend(challenge, person("alice"), name="One")
    first = attack(challenge, person("bob"), name="breaks 1 2 3 4")
    second = attack(challenge, person("carol"), name="breaks 3 4 5")
    return first, second


def test_three_copies_move_no_figure_of_the_entry_they_repeat_and_hold_no_rank(challenge: Challenge) -> None:
    first, second = original(challenge)
    play()
    before = rows(challenge)
    assert (before[first.public_id].rank, before[first.public_id].unique, before[second.public_id].rank) == (1, 2, 2)
    thieves = [attack(challenge, person(name), name="breaks 1 2 3 4 (breaks 1 2 3 4)") for name in ("dan", "erin", "frank")]
    play()
    after = rows(challenge)
    for entry in (first, second):
        assert figures(after[entry.public_id]) == figures(before[entry.public_id])
    for thief in thieves:
        row = after[thief.public_id]
        assert (row.rank, row.play.mean, row.unique, row.success, row.caused) == (None, 1.0, 0, 0.0, 0)
        assert row.repeats is not None
        assert (row.repeats.public_id, row.repeats.team_name, row.repeats.share) == (first.public_id, "bob", 1.0)


def test_the_earlier_entry_has_the_credit_even_where_the_copy_is_played_first(challenge: Challenge) -> None:
    first, _ = original(challenge)
    thief = attack(challenge, person("dan"), name="breaks 1 2 3 4 (breaks 1 2 3 4)")
    Cell.objects.filter(attack=thief).update(priority=-1)
    Cell.objects.filter(attack=first).update(priority=10**7)
    Cell.objects.exclude(attack=thief).update(team=Cell.objects.get(attack=thief).team)
    play()
    assert Cell.objects.order_by("finished")[0].attack_id == thief.pk
    found = rows(challenge)
    assert (found[first.public_id].rank, found[first.public_id].unique, found[first.public_id].optimality) == (1, 2, 0.8)
    assert (found[thief.public_id].rank, found[thief.public_id].unique, found[thief.public_id].caused) == (None, 0, 0)


def test_of_a_mixture_only_what_the_attack_found_itself_counts(challenge: Challenge) -> None:
    first, second = original(challenge)
    mixed = attack(challenge, person("dan"), name="breaks 1 2 7 8 9 (breaks 1 2 3 4)")
    play()
    found = rows(challenge)
    row = found[mixed.public_id]
    assert (row.rank, row.play.mean, row.unique) == (2, 37 / 40, 3), "as good as the second by its own three, not first by five"
    assert row.repeats is not None
    assert row.repeats.share == pytest.approx(2 / 5)
    assert (found[first.public_id].unique, found[second.public_id].rank) == (2, 2)


def test_a_patchwork_of_several_attacks_is_a_copy_though_it_repeats_no_single_one(challenge: Challenge) -> None:
    first, second = original(challenge)
    patchwork = attack(challenge, person("dan"), name="breaks 1 2 3 4 (breaks 1 2 3 4)")
    play()
    cell = Cell.objects.get(attack=patchwork)
    Repeat.objects.filter(cell=cell, of__attack=first).update(bits=bytes([0b01100000, 0, 0, 0, 0]))
    other = Cell.objects.get(attack=second)
    Repeat.objects.create(cell=cell, of=other, bits=bytes([0b00011000, 0, 0, 0, 0]))
    row = rows(challenge)[patchwork.public_id]
    assert row.rank is None
    assert row.repeats is not None
    assert row.repeats.share == 0.5
    known = reduce(packed_union, (bytes(each.bits) for each in Repeat.objects.filter(cell=cell)))
    assert unpack(known, 40).nonzero()[0].tolist() == [1, 2, 3, 4]


def test_a_team_that_improves_its_attack_keeps_one_rank_the_better_one(challenge: Challenge) -> None:
    first, second = original(challenge)
    bob = User.objects.get(username="bob")
    better = attack(challenge, bob, name="breaks 1 2 3 4 6 (breaks 1 2 3 4)")
    worse = attack(challenge, bob, name="breaks 1 2 3 (breaks 1 2 3 4)")
    play()
    found = rows(challenge)
    assert [found[each.public_id].rank for each in (better, first, worse, second)] == [1, None, None, 2]
    assert (found[better.public_id].play.mean, found[better.public_id].unique) == (35 / 40, 1)
    withdraw(submission=better)
    assert [rows(challenge)[each.public_id].rank for each in (first, second)] == [1, 2]


def test_a_withdrawn_entry_of_another_team_was_earlier_all_the_same_and_ones_own_is_forgotten(challenge: Challenge) -> None:
    first, _ = original(challenge)
    play()
    withdraw(submission=first)
    again = attack(challenge, User.objects.get(username="bob"), name="breaks 1 2 3 4 (breaks 1 2 3 4)")
    thief = attack(challenge, person("dan"), name="breaks 1 2 3 4 6 (breaks 1 2 3 4)")
    play()
    found = rows(challenge)
    assert (found[again.public_id].rank, found[again.public_id].repeats) == (1, None)
    assert (found[thief.public_id].rank, found[thief.public_id].unique) == (None, 1)


def test_a_teams_own_defenses_count_in_none_of_its_attacks_figures(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    backdoored = defend(challenge, alice, name="Planted")
    defend(challenge, bob, name="Honest")
    stranger = attack(challenge, bob, name="breaks 1 2")
    play()
    before = rows(challenge)[stranger.public_id]
    owner = attack(challenge, alice, name="everything")
    play()
    Cell.objects.filter(attack=owner).exclude(defense=backdoored).update(left=40, broken=0, breaks=bytes(5), gain=0.0)
    found = rows(challenge)
    assert current(backdoored).robust_accuracy == 0.0, "the fall is true, no matter who caused it"
    assert (found[owner.public_id].play.targets, found[owner.public_id].play.mean, found[owner.public_id].own) == (1, 1.0, 1)
    assert found[owner.public_id].unique == 0
    assert (found[stranger.public_id].unique, found[stranger.public_id].optimality) == (before.unique, before.optimality)
    assert found[stranger.public_id].rank == 1


def test_what_only_its_own_team_breaks_is_marked_and_the_search_is_not_said_to_find_backdoors(challenge: Challenge) -> None:
    alice = person("alice")
    one = defend(challenge, alice, name="Planted")
    attack(challenge, alice, name="breaks 1 2 3")
    attack(challenge, person("bob"), name="breaks 3 4")
    play()
    played = played_against(current(one))
    assert {each.cell.attack.name: (each.own, each.alone) for each in played} == {
        "breaks 1 2 3": (True, 0), "breaks 3 4": (False, 2)
    }  # fmt: skip
    assert only_its_own(played, current(one)) == 2
    page = Client().get(f"/entries/{one.public_id}/").content.decode()
    assert "2 examples fell to its own team’s attacks and to nothing else" in page
    assert "No search finds a backdoor" in page


def test_teams_that_somebody_acted_for_are_one_party_and_being_added_makes_nobody_one(challenge: Challenge) -> None:
    alice, bob = person("alice"), person("bob")
    club = make_team(user=alice, name="The Club")
    hers, his = alice.teams.get(personal=True), bob.teams.get(personal=True)
    assert kinship([club.pk, hers.pk, his.pk]).related(club.pk, hers.pk)
    add_member(team=club, by=alice, username="bob")
    assert not kinship([club.pk, his.pk]).related(club.pk, his.pk), "or anybody could void a rival's breaks"
    entered = defend(challenge, bob, name="For the club")
    Submission.objects.filter(pk=entered.pk).update(team=club)
    club.members.remove(bob)
    assert kinship([club.pk, his.pk]).related(club.pk, his.pk), "who left knows what he knew"


def test_the_board_the_page_and_the_api_say_whose_results_an_attack_repeats(challenge: Challenge) -> None:
    first, _ = original(challenge)
    thief = attack(challenge, person("dan"), name="breaks 1 2 3 4 9 (breaks 1 2 3 4)")
    play()
    client = Client()
    board = client.get(f"/challenges/{challenge.slug}/attacks/").content.decode()
    assert f'repeats <a href="/entries/{first.public_id}/"><bdi>breaks 1 2 3 4</bdi></a> by <bdi>bob</bdi>, 80.0 %' in board
    page = client.get(f"/entries/{thief.public_id}/").content.decode()
    assert "That entry is earlier and holds the credit." in page
    expected = {"attack": first.public_id, "name": "breaks 1 2 3 4", "team": "bob", "share": 0.8}
    assert client.get(f"/api/v1/attacks/{thief.public_id}").json()["repeats"] == expected
    ranked = client.get(f"/api/v1/challenges/{challenge.slug}/rankings").json()["attacks"]
    assert [each["repeats"] for each in ranked if each["attack"]["id"] == thief.public_id] == [expected]


def test_a_shrunk_copy_takes_no_optimality_from_the_one_it_copies(challenge: Challenge) -> None:
    first, _ = original(challenge)
    play()
    before = rows(challenge)[first.public_id].optimality
    attack(challenge, person("dan"), name="breaks 1 2 3 4 (breaks 1 2 3 4)")
    play(FakePlayer(distance=0.095))
    found = Survival.objects.get()
    assert unpack_envelope(found.envelope, 40)[1] == pytest.approx(0.095), "the defense does fall at the smaller budget"
    assert rows(challenge)[first.public_id].optimality == before
