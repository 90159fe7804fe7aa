"""What a stranger's entry says is shown as text: no terminal obeys it, and no markup of ours is written by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arena.cli.evaluate import show
from arena.running.listening import Listener
from arena.running.requests import Request
from evaluator.errors import SubmissionError, visible
from evaluator.records.report import Completed
from tests.running.packs import python_submission, small_pack
from tests.web import backend_support

ROOT = Path(__file__).resolve().parents[2]
_COMMANDS = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\u202e\x9b"
_LOUD = f"""
import sys

def load(directory):
    sys.stderr.write({_COMMANDS!r} + "said before it failed")
    raise RuntimeError({_COMMANDS!r} + "[/bold] failed")
"""


def test_what_an_entry_writes_and_raises_reaches_no_terminal_as_commands(tmp_path: Path) -> None:
    small_pack(tmp_path, examples=2, shard=2)
    entry = python_submission(tmp_path / "entry", _LOUD)
    command = [
        sys.executable,
        "-c",
        "from arena.cli.main import main; main()",
        "evaluate",
        str(tmp_path / "small-mnist"),
        str(entry),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])}
    ran = subprocess.run(command, capture_output=True, check=False, timeout=120, cwd=ROOT, env=environment)
    assert ran.returncode == 1, ran.stderr
    told = (ran.stdout + ran.stderr).decode()
    assert "said before it failed" in told
    assert "[/bold] failed" in told
    assert visible(told) == told


def test_a_name_is_no_markup_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "defense.toml").touch()
    request = Request(pack=backend_support.small_pack(examples=2, shard=2), submission=tmp_path, seed=1, shard=(0, 2))
    judged = backend_support.FakeJudge().evaluate(request, Listener(lambda step: None, lambda text: None, lambda: False))
    assert isinstance(judged, Completed)
    show(judged.report.model_copy(update={"submission": "mine[/bold]"}))
    assert "mine[/bold] on" in capsys.readouterr().out


def test_errors_keep_lines_and_letters_and_drop_what_a_terminal_obeys() -> None:
    error = SubmissionError("raised", "zwölf\n\tä · \x1b[2J\u202e", where="line\r1")
    assert (
        str(error) == "line\N{REPLACEMENT CHARACTER}1: zwölf\n\tä · " + "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    )
