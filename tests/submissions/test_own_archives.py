"""An entry's archive goes back to its own team, and the command line attacks it from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from arena.accounts.models import User
from arena.accounts.services import make_token
from arena.cli.attack import defense_folder
from evaluator.errors import InputError
from tests.web.backend_support import enter, good_files, person, small_challenge, zipped


@pytest.fixture(autouse=True)
def _fresh_counters() -> None:
    cache.clear()


def token_of(user: User) -> str:
    return make_token(user=user, name="test").secret


def ask(identifier: str, user: User | None = None) -> Any:
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token_of(user)}")
    return client.get(f"/api/v1/submissions/{identifier}/archive")


@pytest.mark.django_db
def test_alice_gets_her_archive_back_byte_for_byte() -> None:
    alice = person("alice")
    identifier = enter(small_challenge(), alice).public_id
    answer = ask(identifier, alice)
    assert answer.status_code == 200
    assert answer["Content-Disposition"] == f'attachment; filename="{identifier}.zip"'
    assert b"".join(answer.streaming_content) == zipped(good_files())


@pytest.mark.django_db
def test_charlie_and_strangers_do_not_get_alices_archive() -> None:
    identifier = enter(small_challenge(), person("alice")).public_id
    assert ask(identifier, person("charlie")).status_code == 404
    assert ask(identifier).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_command_line_fetches_an_entry_for_the_time_of_the_attack(live_server: Any) -> None:
    alice = person("alice")
    identifier = enter(small_challenge(), alice).public_id
    with defense_folder(identifier, live_server.url, token_of(alice)) as folder:
        names = {path.name for path in folder.iterdir()}
        assert names == set(good_files())
    assert not folder.exists()
    with (
        pytest.raises(InputError, match="no such submission"),
        defense_folder(identifier, live_server.url, token_of(person("charlie"))),
    ):
        pass


def test_what_is_neither_a_folder_nor_a_baseline_nor_an_entry_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither"), defense_folder(str(tmp_path / "nothing"), None, "token"):
        pass
