"""What the command line prints and refuses, without a site and without computing anything."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from arena.cli import submit as submit_command
from arena.cli.attack import _with_threat
from arena.cli.folders import inspected_defense
from arena.cli.server import Server, packed
from arena.cli.submit import _attack_state
from arena.cli.tables import show
from arena.cli.waiting import Following, shown
from arena.running.staging import folder_digest, staged
from arena.submissions.intake import ArchiveLimits, inspect
from evaluator.errors import InputError
from evaluator.manifests.challenge_packs import load_pack
from tests.web.backend_support import good_files, small_pack

IDENTIFIER = "01hqzx3v9k7m2n4p6r8s0t1w3y"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in good_files().items():
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return tmp_path


def test_a_table_in_a_pipe_cuts_neither_ids_nor_slugs(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    for name in ("id", "slug", "where it stands"):
        table.add_column(name, no_wrap=name != "where it stands")
    table.add_row(IDENTIFIER, "a-challenge-with-a-rather-long-slug-for-eighty-columns", "some words " * 10)
    show(table)
    printed = capsys.readouterr().out
    assert IDENTIFIER in printed
    assert "a-challenge-with-a-rather-long-slug-for-eighty-columns" in printed
    assert "…" not in printed


@pytest.mark.parametrize(
    ("attack", "state", "where"),
    [
        ({"verdict": ""}, "queued", "first look"),
        ({"verdict": "accepted", "cells": [{"state": "completed"}, {"state": "queued"}]}, "running", "played 1 of 2"),
        ({"verdict": "accepted", "cells": [{"state": "completed"}]}, "completed", "played 1 of 1"),
        ({"verdict": "refused", "reason": "raised", "detail": "KeyError: 1\n  attack.py, line 3"}, "refused", "KeyError: 1"),
    ],
)
def test_the_status_of_an_attack_has_a_state(attack: dict[str, Any], state: str, where: str) -> None:
    found = _attack_state(attack)
    assert found[0] == state
    assert where in found[1]
    assert "\n" not in found[1]


def test_status_asks_about_attacks_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    described = {"id": IDENTIFIER, "name": "Mine", "challenge": "mnist-linf", "kind": "attack"}
    answers = {
        "submissions": {"results": [{"submission": described, "evaluation": None}]},
        f"attacks/{IDENTIFIER}": {"verdict": "accepted", "cells": [{"state": "running"}]},
    }
    monkeypatch.setattr(submit_command.Server, "get", lambda self, path: answers[path])
    submit_command.status(None, None, "token")
    printed = capsys.readouterr().out
    assert IDENTIFIER in printed
    assert "running" in printed


@pytest.mark.parametrize("text", ["abc123", " abc123\n", "export REDOUBT_TOKEN=abc123", 'REDOUBT_TOKEN="abc123"', "'abc123'"])
def test_a_token_is_taken_from_a_line_that_was_pasted_whole(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("REDOUBT_TOKEN", text)
    assert Server(None, None)._token == "abc123"


@pytest.mark.parametrize("text", ["...", "export REDOUBT_TOKEN=...", "…", "two words", "tok\u00e9n"])
def test_what_cannot_be_a_token_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("REDOUBT_TOKEN", text)
    with pytest.raises(InputError, match="is no API token") as caught:
        Server(None, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "export REDOUBT_TOKEN="])
def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("REDOUBT_TOKEN", text)
    with pytest.raises(InputError, match="needs an API token"):
        Server(None, None).get("submissions")


def test_files_dated_1970_are_packed_and_the_same_files_give_the_same_bytes(folder: Path) -> None:
    before = packed(folder)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    assert packed(folder) == before
    assert set(inspect(io.BytesIO(before), limits=ArchiveLimits(archive_bytes=1 << 25)).files) == set(good_files())


def test_a_link_is_not_dropped_in_silence(folder: Path) -> None:
    (folder / "more.safetensors").symlink_to(folder / "weights.safetensors")
    for refuse in (lambda: packed(folder), lambda: inspected_defense(folder, small_pack().challenge)):
        with pytest.raises(InputError, match=r"more\.safetensors: is a symbolic link"):
            refuse()


def test_what_submit_refuses_evaluate_refuses_in_the_same_words(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u.")
    said = []
    for refuse in (lambda: packed(folder), lambda: inspected_defense(folder, small_pack().challenge)):
        with pytest.raises(InputError, match="pickle") as caught:
            refuse()
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_evaluate_refuses_a_network_for_other_images_before_anything_runs(folder: Path) -> None:
    with pytest.raises(InputError, match="mnist-cnn takes images of 1 x 28 x 28"):
        inspected_defense(folder, small_pack(dataset="cifar10").challenge)


def test_a_folder_has_the_digest_of_its_staged_copy_whatever_a_system_left_in_it(folder: Path) -> None:
    with staged(folder) as copy:
        assert copy.digest == folder_digest(folder)
    (folder / ".DS_Store").write_text("x")
    assert folder_digest(folder) == copy.digest
    (folder / "notes.txt").write_text("x")
    assert folder_digest(folder) != copy.digest


def test_without_a_terminal_a_line_is_printed_again_and_again() -> None:
    spoken, enough = [], threading.Event()

    class Lines(io.StringIO):
        def write(self, text: str) -> int:
            spoken.append(text)
            if sum("apgd · 3 of 10" in line for line in spoken) >= 3:
                enough.set()
            return len(text)

    with shown("starting", console=Console(file=Lines()), every=0.01) as waiting:
        waiting("apgd", 3, 10)
        assert enough.wait(60)
    assert "starting" in "".join(spoken)


def test_waiting_for_a_site_says_the_same_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    said, now = list[str](), [100.0]
    monkeypatch.setattr("arena.cli.waiting.time.monotonic", lambda: now[0])
    following = Following(said.append)
    for moment in (100.0, 110.0, 129.0, 130.5, 140.0):
        now[0] = moment
        following.report("queued")
    following.report("running")
    assert said == ["queued", "queued", "running"]


def test_the_threat_of_a_pack_may_be_named_again_also_where_it_has_no_epsilon(tmp_path: Path) -> None:
    manifest = 'title = "Rotations"\n[data]\ndataset = "mnist"\nexamples = 20\n'
    manifest += '[threat]\nkind = "rotation-translation"\ndegrees = 30\npixels = 3\n'
    (tmp_path / "challenge.toml").write_text(manifest)
    pack = load_pack(tmp_path.rename(tmp_path.with_name("rotations")))
    assert _with_threat(pack, "rotation-translation", None) == pack
    with pytest.raises(InputError, match="threat linf needs its budget"):
        _with_threat(pack, "linf", None)
    assert _with_threat(pack, "l0", 3.0).challenge.threat.epsilon == 3
