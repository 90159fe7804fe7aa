"""Phases: when entries are taken, and when verdicts of single examples may be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.core.files.base import ContentFile
from django.test import Client

from arena.accounts.models import User
from arena.challenges.models import Challenge
from arena.challenges.phases import season
from arena.challenges.services import Publication, publish
from arena.evaluations.models import Evaluation
from arena.matrix.models import Cell
from arena.submissions.services import submit
from evaluator.errors import InputError
from evaluator.manifests.phase_specs import PhaseSpec
from evaluator.manifests.spec import Challenge as Manifest
from evaluator.manifests.spec import parse_toml
from tests.web.backend_support import current, good_files, person, small_pack, team_of, zipped
from tests.web.matrix_support import attack, defend, play

TOML = """
title = "MNIST, Linf 0.3"
[data]
dataset = "mnist"
examples = 40
[threat]
kind = "linf"
epsilon = 0.3
"""
WARM_UP = '[[phases]]\nname = "Warm-up"\nopens = 2026-12-01T00:00:00Z\ncloses = 2026-12-10T00:00:00Z\n'
FINALS = '[[phases]]\nname = "Finals"\nopens = 2027-01-01T12:00:00+01:00\ncloses = 2027-01-20T00:00:00Z\n'
BEFORE, WITHIN, BETWEEN, LATER, AFTER = (
    datetime(2026, 11, 30, tzinfo=UTC),
    datetime(2026, 12, 5, tzinfo=UTC),
    datetime(2026, 12, 10, tzinfo=UTC),
    datetime(2027, 1, 1, 11, tzinfo=UTC),
    datetime(2027, 2, 1, tzinfo=UTC),
)


def manifest(phases: str = WARM_UP + FINALS) -> Manifest:
    return parse_toml((TOML + phases).encode(), Manifest, where="challenge.toml")


PHASES = manifest().phases


@pytest.mark.parametrize(
    ("at", "now", "coming", "last", "opened"),
    [
        (BEFORE, None, "Warm-up", None, False),
        (PHASES[0].opens, "Warm-up", "Finals", None, True),
        (WITHIN, "Warm-up", "Finals", None, True),
        (PHASES[0].closes, None, "Finals", "Warm-up", False),
        (LATER, "Finals", None, "Warm-up", True),
        (AFTER, None, None, "Finals", False),
    ],
)
def test_a_phase_is_open_from_its_opening_and_before_its_close(
    at: datetime, now: str | None, coming: str | None, last: str | None, opened: bool
) -> None:
    def name(phase: PhaseSpec | None) -> str | None:
        return None if phase is None else phase.name

    stands = season(PHASES, at)
    assert (name(stands.now), name(stands.next), name(stands.last), stands.open) == (now, coming, last, opened)
    assert stands.sealed_until == (None if stands.now is None else stands.now.closes)


def test_a_challenge_without_phases_takes_entries_and_seals_nothing() -> None:
    stands = season((), WITHIN)
    assert (stands.phased, stands.open, stands.sealed_until) == (False, True, None)


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        (WARM_UP.replace("00:00:00Z\ncl", "00:00:00\ncl"), "line 11, phases[1].opens: must name its zone"),
        (WARM_UP.replace("12-10", "11-10"), 'line 12, phases[1].closes: phase "Warm-up" closes before it opens'),
        (FINALS + WARM_UP, 'line 15, phases[2].opens: phase "Warm-up" opens before "Finals" closes'),
        (WARM_UP.replace("opens", "opened"), "phases[1].opened: unknown field"),
    ],
)
def test_impossible_phases_are_refused_by_name(phases: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        manifest(phases)
    assert words in str(refused.value)


def test_times_of_any_zone_are_kept_in_utc() -> None:
    assert PHASES[1].opens.isoformat() == "2027-01-01T11:00:00+00:00"


@dataclass
class Clock:
    """The time that phases are told."""

    at: datetime = WITHIN

    def __call__(self) -> datetime:
        return self.at

    def move_to(self, at: datetime) -> None:
        self.at = at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("arena.challenges.models.now", made)
    return made


@pytest.fixture
def challenge(clock: Clock, db: None) -> Challenge:
    pack = small_pack()
    phased = pack.challenge.model_copy(update={"phases": PHASES})
    return publish(pack=pack.model_copy(update={"challenge": phased})).challenge


def enter(challenge: Challenge, user: User, name: str) -> None:
    archive = ContentFile(zipped(good_files(name)), name="defense.zip")
    submit(user=user, team=team_of(user), challenge=challenge, archive=archive)


def test_entries_are_refused_outside_a_phase_with_the_date_of_the_next(challenge: Challenge, clock: Clock) -> None:
    alice = person()
    enter(challenge, alice, "In time")
    clock.move_to(BETWEEN)
    with pytest.raises(InputError, match='not taken now: "Finals" opens on 2027-01-01 11:00 UTC'):
        enter(challenge, alice, "Between")
    clock.move_to(AFTER)
    with pytest.raises(InputError, match='no longer taken: "Finals", the last phase, closed on 2027-01-20 00:00 UTC'):
        enter(challenge, alice, "Late")


def test_single_verdicts_are_refused_with_the_date_until_the_phase_closes(
    challenge: Challenge, clock: Clock, client: Client
) -> None:
    alice = person("alice")
    defense = defend(challenge, alice, name="One")
    attack(challenge, person("bob"), name="breaks 1 2")
    play()
    cell, evaluation = Cell.objects.get(), current(defense)
    addresses = (
        "/challenges/mnist-linf/bits.parquet",
        f"/entries/{defense.public_id}/receipt.json",
        f"/api/v1/evaluations/{evaluation.public_id}/report",
        f"/api/v1/evaluations/{evaluation.public_id}/receipt",
        f"/cells/{cell.public_id}/1/adversarial.png",
    )
    for address in addresses:
        refused = client.get(address)
        assert refused.status_code == 403, address
        assert "2026-12-10 00:00 UTC" in refused.content.decode(), address
    assert "once the phase closes, on 2026-12-10 00:00 UTC" in client.get("/challenges/mnist-linf/").content.decode()
    assert "once the phase closes, on 2026-12-10 00:00 UTC" in client.get(f"/cells/{cell.public_id}/").content.decode()
    clock.move_to(BETWEEN)
    assert [client.get(address).status_code for address in addresses[:4]] == [200] * 4
    assert "bits.parquet" in client.get("/challenges/mnist-linf/").content.decode()


def test_a_team_reads_its_own_report_and_organisers_read_all(challenge: Challenge, client: Client) -> None:
    alice, organiser = person("alice"), person("olga")
    address = f"/entries/{defend(challenge, alice, name='One').public_id}/receipt.json"
    client.force_login(alice)
    assert client.get(address).status_code == 200
    assert client.get("/challenges/mnist-linf/bits.parquet").status_code == 403
    organiser.is_staff = True
    organiser.save()
    client.force_login(organiser)
    assert client.get(address).status_code == 200
    assert client.get("/challenges/mnist-linf/bits.parquet").status_code == 200


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (BEFORE, ("closed", "Warm-up opens", "2026-12-01 00:00 UTC")),
        (WITHIN, ("Warm-up", "closes", "2026-12-10 00:00 UTC")),
        (AFTER, ("closed", "Finals closed", "2027-01-20 00:00 UTC")),
    ],
)
def test_the_board_says_which_phase_it_is_and_when_that_ends(
    challenge: Challenge, clock: Clock, client: Client, at: datetime, words: tuple[str, ...]
) -> None:
    clock.move_to(at)
    page = client.get("/challenges/mnist-linf/").content.decode()
    told = page[page.index('<p class="phase">') :].split("</p>")[0]
    assert all(word in told for word in words), told
    assert (
        "Finals</dt><dd>2027-01-01 11:00 to 2027-01-20 00:00 UTC"
        in client.get("/challenges/mnist-linf/rules/").content.decode()
    )


def test_moving_a_phase_is_no_change_of_the_rules(challenge: Challenge) -> None:
    moved = publish(pack=small_pack())
    assert moved.publication == Publication.UPDATED
    assert not Evaluation.objects.exists()
