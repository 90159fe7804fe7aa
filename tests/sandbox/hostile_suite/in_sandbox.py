"""Runs a hostile program as a job's command and looks, from the outside, at what it did.

The program is `hostile.py`, told by `Bait.told()` where everything worth attacking is. What it claims to have achieved is
believed; that it achieved nothing is not.
"""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path, PurePosixPath

from sandbox import Job, Limits, Mount, Sandbox
from tests.sandbox.conformance.support import PYTHON
from tests.sandbox.hostile_suite.bait import Bait
from tests.sandbox.hostile_suite.cases import Case, Outcome, judged
from tests.sandbox.hostile_suite.traces import Traces

INSIDE = PurePosixPath("/case")
_ESCAPED = "ESCAPED: "
_PATIENCE = 30.0  # for a job that its own deadline does not end


def job(case: Case, bait: Bait, marker: str, *, seconds: float) -> Job:
    """The hostile program as a job that ends after `seconds`. marker: a word for its command line."""
    limits = {"processes": 16, "memory_mb": 128, "cpus": 1.0, **case.limits}
    return Job(
        argv=(PYTHON, "-B", "-S", str(INSIDE / "hostile.py"), bait.told(), marker),
        mounts=(Mount(_folder(bait, marker), INSIDE),),
        limits=Limits(seconds=seconds, **limits),  # type: ignore[arg-type]  # a case.toml gives whole numbers for whole numbers
    )


def laid_out(case: Case, bait: Bait, marker: str) -> Path:
    """A copy of the case's program and of its zone's helpers that every user could change, were it not for the sandbox."""
    folder = _folder(bait, marker)
    folder.mkdir()
    folder.chmod(0o777)
    for source in (*case.folder.glob("*.py"), *case.folder.parent.glob("*.py")):
        shutil.copyfile(source, folder / source.name)
        (folder / source.name).chmod(0o666)
    return folder


def _folder(bait: Bait, marker: str) -> Path:
    return bait.folder.with_name(f"{bait.folder.name}-{marker}")


def run(case: Case, sandbox: Sandbox, bait: Bait) -> Outcome:
    """Raises nothing for whatever the program does; SandboxError where the sandbox itself fails."""
    marker = secrets.token_hex(8)
    folder = laid_out(case, bait, marker)
    try:
        before = Traces.now(sandbox)
        with sandbox.start(job(case, bait, marker, seconds=case.seconds)) as running:
            begun = time.monotonic()
            ending = running.wait(timeout=case.seconds + _PATIENCE) or running.kill()
            seconds = time.monotonic() - begun
            said = running.log()[0].decode(errors="replace")
        losses = [line.removeprefix(_ESCAPED) for line in said.splitlines() if line.startswith(_ESCAPED)]
        losses += ["a secret of the host was told"] if bait.secret in said else []
        losses += [*bait.harm(), *before.left(sandbox, marker)]
    finally:
        shutil.rmtree(folder)
    status = "" if ending.code is None else f" {ending.code}"
    return judged(case, seconds, f"{ending.cause}{status}", said, losses)
