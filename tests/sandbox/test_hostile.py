"""Every hostile submission is contained, on every backend: the worker lives, nothing is left, the verdict says why, in time."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import DOCKER, SUPERUSER, USER_NAMESPACES
from tests.sandbox.hostile_suite import in_process
from tests.sandbox.hostile_suite.backends import Runner, opened
from tests.sandbox.hostile_suite.cases import HOSTILE, ZONES, Case, Outcome, cases


def on(backend: str) -> list[object]:
    return [pytest.param(case, id=f"{case.zone}-{case.name}") for case in cases() if backend in case.backends]


def of(zone: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases() if case.zone == zone]


def runner(backend: str) -> Iterator[Runner]:
    with opened(backend) as found:
        if isinstance(found, str):
            {"bubblewrap": SUPERUSER if os.geteuid() else USER_NAMESPACES, "docker": DOCKER}[backend].skip()
        yield found


@pytest.fixture(scope="module")
def bubblewrap() -> Iterator[Runner]:
    yield from runner("bubblewrap")


@pytest.fixture(scope="module")
def ordinary_user() -> Iterator[Runner]:
    yield from runner("bubblewrap-user")


@pytest.fixture(scope="module")
def docker() -> Iterator[Runner]:
    yield from runner("docker")


def contained(outcome: Outcome) -> None:
    assert outcome.lost == "", outcome.verdict


@pytest.mark.parametrize("case", on("bubblewrap"))
def test_bubblewrap_contains(case: Case, bubblewrap: Runner) -> None:
    contained(bubblewrap(case))


@pytest.mark.parametrize("case", on("bubblewrap-user"))
def test_bubblewrap_without_any_right_contains(case: Case, ordinary_user: Runner) -> None:
    contained(ordinary_user(case))


@pytest.mark.docker
@pytest.mark.parametrize("case", on("docker"))
def test_docker_contains(case: Case, docker: Runner) -> None:
    contained(docker(case))


@pytest.mark.parametrize("case", of("intake"))
def test_the_intake_refuses(case: Case) -> None:
    contained(in_process.run(case))


@pytest.mark.slow
@pytest.mark.xdist_group("hostile evaluations")  # one process judges the honest entry, which all are compared with, once
@pytest.mark.parametrize("case", of("evaluation"))
def test_an_evaluation_gives_nothing_to(case: Case) -> None:
    contained(in_process.run(case))


def test_there_are_at_least_eighty_and_each_says_what_it_tries() -> None:
    found = cases()
    assert len(found) >= 80
    assert {case.zone for case in found} == set(ZONES)
    assert len({case.tries for case in found}) == len(found)
    assert all(case.tries.endswith(".") and case.ends for case in found)


def test_every_folder_of_the_suite_is_a_case() -> None:
    folders = {path for zone in ZONES for path in (HOSTILE / zone).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {case.folder for case in cases()}
    for folder in folders:
        assert tomllib.loads((folder / "case.toml").read_text())
        assert any(Path(folder, name).exists() for name in ("hostile.py", "build.py", "defense.py", "attack.py")), folder


def test_every_promise_of_the_security_page_names_cases_that_exist() -> None:
    page = (HOSTILE.parents[2] / "SECURITY.md").read_text()
    named = set(re.findall(rf"`((?:{'|'.join(ZONES)})/[a-z0-9-]+)`", page))
    assert named - {f"{case.zone}/{case.name}" for case in cases()} == set()
    tables = re.findall(r"^\| promise .*\n\|[-| ]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    promises = [line for table in tables for line in table.splitlines() if "`" in line]
    assert len(promises) >= 17
    assert [line for line in promises if not any(name in line for name in named)] == []
