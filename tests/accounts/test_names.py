"""Which names teams, people and entries may have, and which are too like another."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from arena.accounts import services
from arena.accounts.models import TakenName, Team, User
from arena.accounts.names import RESERVED, check_visible, keys_of, tidy_name
from arena.submissions.baselines import TEAM
from arena.submissions.intake import inspect
from evaluator.errors import InputError
from tests.web.backend_support import PASSWORD, good_files, person, zipped

ALIKE = [
    ("Alpine Robust", "alpine  robust"),
    ("Alpine Robust", "Alpine-Robust"),
    ("Alpine Robust", "ALPINE ROBUST!"),
    ("Micro", "\u041cicro"),  # Cyrillic capital Em
    ("Micro", "\u041cICRO"),
    ("micro", "micr\u043e"),  # Cyrillic small o
    ("MICRO", "micr\u03bf"),  # Greek omicron
    ("Alpine", "A1pine"),
    ("Alpine", "AIpine"),
    ("Robust", "R0bust"),
    ("Mario", "rnario"),
    ("Alpine", "\uff21\uff4c\uff50\uff49\uff4e\uff45"),  # full width
    ("Alpine", "\U0001d400lpine"),  # mathematical bold
    ("Stra\u00dfe", "STRASSE"),
    ("Z\u00fcrich", "Zu\u0308rich"),
    ("\u041c\u043e\u0441\u043a\u0432\u0430", "\u041c\u041e\u0421\u041a\u0412\u0410"),  # Moscow, in capitals
    ("\u0391\u03b8\u03ae\u03bd\u03b1", "\u0391\u0398\u0389\u039d\u0391"),  # Athens, in capitals
    ("\u0430\u0435", "\u03b1e"),  # Cyrillic a e, Greek alpha and a Latin e
]
APART = [
    ("Alpine", "Alpina"),
    ("\u041c\u043e\u0441\u043a\u0432\u0430", "\u041a\u0438\u0457\u0432"),
    ("\u6e05\u534e", "\u5317\u5927"),
    ("\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd"),
    ("C++", "C"),
    ("team 2", "team 3"),
    ("Zurich", "Z\u00fcrich"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_a_reader_would_confuse_share_a_key(one: str, other: str) -> None:
    assert keys_of(one) & keys_of(other)


@pytest.mark.parametrize(("one", "other"), APART)
def test_names_that_nobody_would_confuse_share_none(one: str, other: str) -> None:
    assert not keys_of(one) & keys_of(other)


@given(st.text(min_size=1, max_size=60))
def test_a_name_is_like_itself_in_any_case_and_form(name: str) -> None:
    assert keys_of(name)
    assert all(len(key) <= 255 for key in keys_of(name))
    for other in (name.casefold(), name.upper().casefold(), f" {name} "):
        if other.casefold() == name.casefold():
            assert keys_of(name) & keys_of(other)


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\x00",
        "\x07",
        "\u00ad",
        "\u3164",
        "\u2800",
        "\ufe0f",
        "\ue000",
        "\ud800",
    ],
    ids=lambda hidden: f"U+{ord(hidden):04X}",
)
def test_characters_that_cannot_be_seen_are_refused_by_number(hidden: str) -> None:
    with pytest.raises(InputError, match=rf"U\+{ord(hidden):04X}"):
        tidy_name(f"Alpine{hidden}Robust")


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "\ufdfa" * 9, "!!!", "e" + "\u0301" * 30])
def test_names_without_a_word_or_beyond_all_measure_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        tidy_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "Alpine Robust",
        "\u6e05\u534e\u5927\u5b66",
        "\u05e9\u05dc\u05d5\u05dd",
        "\u0e01\u0e33\u0e25\u0e31\u0e07",
        "Vi\u1ec7t Nam",
        "C++",
        "\U0001f916 lab",
        "x" * 60,
    ],
)
def test_ordinary_names_of_any_language_are_taken_as_they_are(name: str) -> None:
    assert tidy_name(f"  {name} ") == name


@pytest.mark.django_db
def test_teams_of_any_script_stand_side_by_side_at_addresses_of_their_own() -> None:
    alice = person("alice")
    names = [
        "\u6e05\u534e\u5927\u5b66",
        "\u5317\u4eac\u5927\u5b66",
        "\u041c\u043e\u0441\u043a\u0432\u0430",
        "\u05e9\u05dc\u05d5\u05dd",
    ]
    made = [services.make_team(user=alice, name=name) for name in names]
    assert [team.name for team in made] == names
    assert len({team.slug for team in made}) == len(names)


@pytest.mark.django_db
@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_a_team_that_looks_like_another_is_not_made(one: str, other: str) -> None:
    alice, bob = person("alice"), person("bob")
    services.make_team(user=alice, name=one)
    with pytest.raises(InputError, match="looks like") as caught:
        services.make_team(user=bob, name=other)
    assert caught.value.where == "name"
    assert Team.objects.filter(personal=False).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", [*RESERVED, "Redoubt base1ines", "R\u0435doubt"])
def test_nobody_speaks_for_the_site(name: str) -> None:
    assert TEAM in RESERVED
    with pytest.raises(InputError, match="looks like"):
        services.make_team(user=person("alice"), name=name)


@pytest.mark.django_db
def test_user_names_and_team_names_are_kept_apart_from_each_other() -> None:
    alice = person("alice")
    services.make_team(user=alice, name="Bob")
    User.objects.create_user("olga", "olga@example.org", PASSWORD, is_staff=True)
    for username in ("a1ice", "AL1CE", "b0b", "0lga"):
        with pytest.raises(InputError, match="looks like") as caught:
            services.sign_up(username=username, email="new@example.org", password=PASSWORD, address="::1")
        assert caught.value.where == "username"
    with pytest.raises(InputError, match="looks like"):
        services.make_team(user=alice, name="\u0410lice")
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "olga"}


@pytest.mark.django_db
def test_the_name_of_a_team_that_is_gone_is_free() -> None:
    alice = person("alice")
    services.make_team(user=alice, name="Alpine").delete()
    services.make_team(user=alice, name="A1pine")


@pytest.mark.django_db(transaction=True)
def test_of_two_teams_that_look_alike_made_at_once_one_is_made(monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "_taken", lambda name, but=None: False)  # as if both had looked before either wrote
    alice, outcomes = person("alice"), list[str]()

    def make(name: str) -> None:
        try:
            services.make_team(user=alice, name=name)
            outcomes.append("made")
        except InputError as error:
            outcomes.append("refused" if "looks like" in error.what else str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=(name,)) for name in ("Micro", "\u041cicro", "micr0")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused", "refused"]
    assert set(TakenName.objects.filter(team__personal=False).values_list("key", flat=True)) >= keys_of("micro") & keys_of(
        "Micro"
    )


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\u2066"])
def test_an_entry_with_an_invisible_character_in_its_name_is_refused(hidden: str) -> None:
    with pytest.raises(InputError, match=r"U\+") as caught:
        inspect(io.BytesIO(zipped(good_files(f"My{hidden}CNN"))))
    assert caught.value.where == "defense.toml"


def test_what_is_visible_is_visible() -> None:
    check_visible("Momentum PGD, \u03b5 = 0.3", what="The entry's name", where="defense.toml")
