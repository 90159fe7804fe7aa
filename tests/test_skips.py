"""A run says what it left out, in one line a cause with the command that provides it; under CI=true that is a failure."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hypothesis import settings

TESTS = Path(__file__).resolve().parent
SAMPLE = """
import pytest
from tests.needs import CHROMIUM, DOCKER

@pytest.mark.parametrize("number", range(12))
def test_of_an_engine(number):
    DOCKER.skip()

@CHROMIUM.unless(False)
def test_of_a_browser():
    raise AssertionError

def test_that_runs():
    pass
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text("from tests.conftest import *\nfrom tests.conftest import _NOT_RUN\n")
    (folder / "test_sample.py").write_text(SAMPLE)
    ini = TESTS.parent / "pyproject.toml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    without = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, "-o", f"pythonpath={TESTS.parent}", "-c", ini, "--rootdir", folder, folder],
        cwd=folder, env={**without, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_each_cause_is_one_line_with_its_number_of_tests_and_its_command(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if "engine" in line or "Chromium" in line or "SKIPPED" in line]
    assert said == [
        '  12 tests need a Docker engine: eval "$(deploy/dev/docker-engine start DIR)"; export DOCKER_HOST',
        "   1 tests need Chromium: apt-get install chromium, or set REDOUBT_CHROMIUM to its path",
    ]


def test_under_ci_a_run_that_left_something_out_fails(tmp_path: Path) -> None:
    assert run(tmp_path, CI="true").returncode == 1


def calls() -> Iterator[tuple[str, ast.Call]]:
    """(where, call) of everything in tests/ that skips."""
    for file in TESTS.rglob("*.py"):
        if file.name in ("needs.py", "hostile.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("skip", "skipif", "importorskip"):
                yield f"{file.relative_to(TESTS)}:{node.lineno}", node


def test_every_skip_names_a_need() -> None:
    found = list(calls())
    assert len(found) > 5
    for where, call in found:
        reasons = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "reason"]
        owner = ast.unparse(call.func)
        assert not owner.startswith("pytest.mark.skip"), f"{where}: use NEED.unless(...) of tests/needs.py"
        assert owner != "pytest.skip", f"{where}: use NEED.skip() of tests/needs.py"
        assert owner != "pytest.importorskip" or (reasons and reasons[0].endswith(".reason")), where


def test_no_property_has_a_deadline_of_its_own() -> None:
    assert settings().deadline is None
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings":
                assert "deadline" not in {keyword.arg for keyword in node.keywords}, f"{file.name}:{node.lineno}"


def test_the_page_of_the_tests_says_what_each_folder_proves() -> None:
    page = (TESTS / "README.md").read_text()
    for folder in TESTS.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"| `{folder.name}/` |" in page
