"""How often one may enter, and that the same files are judged once, under one seed."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from arena.accounts.models import Team, User
from arena.accounts.services import add_member, make_team
from arena.challenges.models import Challenge
from arena.evaluations.models import Evaluation
from arena.evaluations.services import cancel
from arena.matrix.models import Cell, FirstLook
from arena.submissions.intake import inspect
from arena.submissions.models import Submission
from arena.submissions.services import attempts_left, submit, withdraw
from evaluator.errors import InputError
from tests.web.backend_support import current, enter, good_files, person, small_challenge, team_of, zipped
from tests.web.matrix_support import attack, defend, upload_attack

pytestmark = pytest.mark.django_db
Files = Mapping[str, bytes | str]


@pytest.fixture
def challenge() -> Challenge:
    return small_challenge()


@pytest.fixture
def alice() -> User:
    return person("alice")


def send(user: User, challenge: Challenge, data: bytes, *, team: Team | None = None) -> Submission:
    archive = ContentFile(data, name="defense.zip")
    return submit(user=user, team=team or team_of(user), challenge=challenge, archive=archive)


def left(user: User, challenge: Challenge, *, team: Team | None = None) -> int:
    return attempts_left(user=user, team=team or team_of(user), challenge=challenge)


def packed_otherwise(files: Files, *, folder: str = "") -> bytes:
    """The same files in another order, with other times, modes and compression, and a Mac's litter."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in reversed(list(files.items())):
            info = zipfile.ZipInfo(folder + name, date_time=(2026, 5, 4, 3, 2, 2))
            info.external_attr = 0o755 << 16
            archive.writestr(info, data, zipfile.ZIP_STORED)
        archive.writestr(f"{folder}.DS_Store", b"where the icons are")
    return buffer.getvalue()


def tarred(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# What counts


def test_a_team_has_so_many_tries_a_day_and_the_platforms_failures_are_free(
    challenge: Challenge, alice: User, settings: Any
) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 2
    first = enter(challenge, alice, name="one")
    enter(challenge, alice, name="two")
    with pytest.raises(InputError, match="within a day"):
        enter(challenge, alice, name="three")
    Evaluation.objects.filter(submission=first).update(state=Evaluation.State.PLATFORM_FAILED)
    assert left(alice, challenge) == 1
    enter(challenge, alice, name="three")


@pytest.mark.parametrize("state", [state for state in Evaluation.State if state != Evaluation.State.PLATFORM_FAILED])
def test_every_end_but_the_platforms_failure_counts(challenge: Challenge, alice: User, settings: Any, state: str) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 2
    enter(challenge, alice)
    Evaluation.objects.update(state=state)
    assert left(alice, challenge) == 1


def test_a_try_counts_for_a_day_and_no_longer(challenge: Challenge, alice: User, settings: Any) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 1
    enter(challenge, alice)
    for hours, tries in ((23, 0), (25, 1)):
        Submission.objects.update(created=timezone.now() - timedelta(hours=hours))
        assert left(alice, challenge) == tries, f"{hours} hours later"


def test_each_challenge_has_tries_of_its_own(challenge: Challenge, alice: User, settings: Any) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 1
    enter(challenge, alice)
    enter(small_challenge("mnist-l2"), alice)


def test_several_teams_of_one_person_have_no_more_tries_than_one(challenge: Challenge, alice: User, settings: Any) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 3
    teams = [team_of(alice), *(make_team(user=alice, name=f"Team {number}") for number in "abc")]
    for number, team in enumerate(teams[:3]):
        send(alice, challenge, zipped(good_files(f"entry {number}")), team=team)
    for team in teams:
        with pytest.raises(InputError, match="within a day"):
            send(alice, challenge, zipped(good_files("one more")), team=team)


def test_a_team_has_no_more_tries_than_one_person_however_many_its_members(
    challenge: Challenge, alice: User, settings: Any
) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 2
    team, bob = make_team(user=alice, name="Alpine Robust"), person("bob")
    add_member(team=team, by=alice, username="bob")
    for number in range(2):
        send(alice, challenge, zipped(good_files(f"entry {number}")), team=team)
    with pytest.raises(InputError, match="within a day"):
        send(bob, challenge, zipped(good_files("one more")), team=team)


def test_being_made_a_member_of_a_busy_team_costs_nobody_a_try(challenge: Challenge, alice: User, settings: Any) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 1
    team, bob = make_team(user=alice, name="Junk"), person("bob")
    add_member(team=team, by=alice, username="bob")
    send(alice, challenge, zipped(good_files("junk")), team=team)
    assert left(bob, challenge) == 1


def test_an_attack_that_its_team_takes_back_before_the_first_look_counts(
    challenge: Challenge, alice: User, settings: Any
) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 5
    defend(challenge, person("bob"), name="One")
    withdraw(submission=upload_attack(challenge, alice, name="first"))
    assert left(alice, challenge) == 4
    refused = upload_attack(challenge, alice, name="second")
    FirstLook.objects.filter(submission=refused).update(state=FirstLook.State.SUBMISSION_FAILED, reason="crash")
    assert left(alice, challenge) == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("over", ["one team", "four teams", "two people"])
def test_simultaneous_uploads_have_no_more_tries(challenge: Challenge, alice: User, settings: Any, over: str) -> None:
    settings.REDOUBT_SUBMISSIONS_PER_DAY = 3
    people, teams = [alice], [team_of(alice)]
    if over == "four teams":
        teams += [make_team(user=alice, name=f"Team {number}") for number in "abc"]
    if over == "two people":
        people.append(person("bob"))
        teams = [make_team(user=alice, name="Alpine Robust")]
        add_member(team=teams[0], by=alice, username="bob")
    start, outcomes = threading.Barrier(12), list[str]()

    def upload(number: int) -> None:
        try:
            start.wait()
            user, team = people[number % len(people)], teams[number % len(teams)]
            send(user, challenge, zipped(good_files(f"entry {number}")), team=team)
            outcomes.append("entered")
        except InputError as error:
            outcomes.append("refused" if "within a day" in error.what else str(error))
        finally:
            connection.close()

    _all_at_once(upload)
    assert sorted(outcomes) == ["entered"] * 3 + ["refused"] * 9
    assert Submission.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_uploads_of_the_same_files_one_enters(challenge: Challenge, alice: User) -> None:
    start, outcomes = threading.Barrier(12), list[str]()

    def upload(number: int) -> None:
        try:
            start.wait()
            data = zipped(good_files()) if number % 2 else packed_otherwise(good_files())
            send(alice, challenge, data)
            outcomes.append("entered")
        except InputError as error:
            outcomes.append("refused" if "entered before" in error.what else str(error))
        finally:
            connection.close()

    _all_at_once(upload)
    assert sorted(outcomes) == ["entered"] + ["refused"] * 11


def _all_at_once(upload: Any) -> None:
    threads = [threading.Thread(target=upload, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# The same files


def test_the_same_files_are_judged_once_per_person_and_challenge(challenge: Challenge, alice: User) -> None:
    first = enter(challenge, alice)
    with pytest.raises(InputError, match=first.public_id):
        enter(challenge, alice)
    withdraw(submission=first)
    enter(challenge, alice)
    enter(challenge, person("bob"))
    enter(small_challenge("mnist-l2"), alice)


@pytest.mark.parametrize(
    "data",
    [
        packed_otherwise(good_files()),
        packed_otherwise(good_files(), folder="my-defense/"),
        tarred(good_files()),
        packed_otherwise({"weights.safetensors": good_files()["weights.safetensors"], **good_files()}),
    ],
    ids=["another zip", "in a folder", "a tar", "another order"],
)
def test_the_same_files_packed_otherwise_are_the_same_entry(challenge: Challenge, alice: User, data: bytes) -> None:
    first = enter(challenge, alice)
    with pytest.raises(InputError, match=first.public_id):
        send(alice, challenge, data)
    with pytest.raises(InputError, match=first.public_id):
        send(alice, challenge, data, team=make_team(user=alice, name="Alpine Robust"))


def test_every_name_and_every_byte_of_the_files_tells_them_apart() -> None:
    files = good_files()
    others: list[Files] = [
        files,
        {**files, "notes.txt": ""},
        {**files, "notes.md": ""},
        {**files, "notes.txt": "x"},
        {**files, "a": "1", "b": "2"},
        {**files, "a": "2", "b": "1"},
        good_files("Other name"),
    ]
    found = {inspect(io.BytesIO(zipped(each))).contents for each in others}
    assert len(found) == len(others)


def test_withdrawing_after_a_verdict_does_not_buy_another_try(challenge: Challenge, alice: User) -> None:
    first = enter(challenge, alice)
    Evaluation.objects.update(state=Evaluation.State.COMPLETED)
    withdraw(submission=first)
    with pytest.raises(InputError, match="judged once"):
        send(alice, challenge, packed_otherwise(good_files()))


@pytest.mark.parametrize(
    "ended", [Evaluation.State.CANCELLED, Evaluation.State.SUBMISSION_FAILED, Evaluation.State.PLATFORM_FAILED]
)
def test_the_same_files_meet_the_same_seed_when_they_are_entered_again(challenge: Challenge, alice: User, ended: str) -> None:
    first = current(enter(challenge, alice))
    if ended == Evaluation.State.CANCELLED:
        cancel(evaluation=first)
    else:
        Evaluation.objects.update(state=ended)
    again = current(send(alice, challenge, packed_otherwise(good_files())))
    assert (again.pk != first.pk, again.seed) == (True, first.seed)
    assert current(enter(challenge, person("bob"))).seed == first.seed, "nor does another account help"


def test_other_files_other_challenges_and_other_sites_have_other_seeds(
    challenge: Challenge, alice: User, settings: Any
) -> None:
    seeds = {current(enter(challenge, alice, name=f"entry {number}")).seed for number in range(5)}
    seeds.add(current(enter(small_challenge("mnist-l2"), alice, name="entry 0")).seed)
    settings.SECRET_KEY = "of another site"
    seeds.add(current(enter(challenge, person("bob"), name="entry 0")).seed)
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**55


def test_an_attack_that_is_entered_again_meets_the_seeds_that_it_had(challenge: Challenge, alice: User) -> None:
    defend(challenge, person("bob"), name="One")
    first = attack(challenge, alice, name="breaks 1")
    withdraw(submission=first)
    FirstLook.objects.update(state=FirstLook.State.SUBMISSION_FAILED)
    again = attack(challenge, alice, name="breaks 1")
    looks = set(FirstLook.objects.values_list("seed", flat=True))
    plays = list(Cell.objects.filter(kind=Cell.Kind.PLAY, attack__in=(first, again)).values_list("seed", flat=True))
    assert len(looks) == 1
    assert len(plays) == 2
    assert set(plays) != looks
    assert len(set(plays)) == 1
