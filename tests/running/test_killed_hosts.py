"""A host that the machine kills once is started again, for the command line as for the workers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from packs import python_submission, small_pack

from arena.running.defense import Request, run_defense
from arena.running.listening import Listener
from arena.running.search import run_search
from evaluator.attacks import create
from evaluator.ensembles import Sequence, Stage
from evaluator.manifests.spec import Pack
from evaluator.records.report import Completed, Progress
from sandbox.choose import open_sandbox


def hosts() -> list[int]:
    """This process's hosts, by their control groups."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                group, command = (process / "cgroup").read_text(), (process / "cmdline").read_bytes()
                if b"evaluator.host" in command and f"-{os.getpid()}-" in group:
                    found.append(int(process.name))
    return found


def searched(pack: Pack, folder: Path, listener: Listener) -> int:
    """What `redoubt attack` runs."""
    sandbox = open_sandbox("bubblewrap")
    found = run_search(pack, folder, "fgsm", create("fgsm"), seed=1, examples=6, sandbox=sandbox, listener=listener)
    return len(found.verdict.robust)


def evaluated(pack: Pack, folder: Path, listener: Listener) -> int:
    """What `redoubt evaluate` and the workers run."""
    request = Request(pack, folder, 1, examples=6, ensemble=Sequence("short", (Stage("fgsm", create("fgsm")),)))
    outcome = run_defense(request, sandbox=open_sandbox("bubblewrap"), listener=listener)
    assert isinstance(outcome, Completed), outcome
    return outcome.report.examples


@pytest.mark.parametrize("run", [searched, evaluated])
def test_a_host_that_is_killed_once_is_started_again(run: Callable[[Pack, Path, Listener], int], tmp_path: Path) -> None:
    killed: list[int] = []

    def strike(step: Progress) -> None:
        if step.stage == "attacking" and not killed:
            killed.extend(hosts())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    assert run(small_pack(tmp_path), python_submission(tmp_path / "entry"), Listener(strike)) == 6
    assert killed
