"""The few lines of shell that run before and inside a job, shared by the backends."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sandbox.base import Capabilities, Job, SandboxError, Stream, StreamClosed, StreamTimeout
from sandbox.kernel import landlock
from sandbox.running import Tree

START_SECONDS = 30.0
UID = 65534
_PYTHON = "/usr/bin/python3"
_TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin"
# Confines itself where it can, says that everything is in place and becomes the job, with the job's environment and nothing
# else (a shell adds PWD and more).
_BECOME = f"""
confine=$1; shift
if [ -x {_PYTHON} ]; then exec {_PYTHON} -I -S -c "$confine" "$@"; fi
printf {landlock.PLAIN.decode()} && exec env -i "$@"
"""
_CONFINE = Path(landlock.__file__).read_text()
# Joins the control groups ($2... up to --), and makes sure that the parent was alive when its death became this process's.
_GUARD = """
parent=$1; shift
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 125; shift; done; shift
[ "$PPID" = "$parent" ] || exit 125
exec "$@"
"""


def tool(name: str) -> str:
    """Absolute path of a program of the base system. Raises SandboxError saying which package brings it."""
    found = shutil.which(name, path=_TOOLS)
    if found is None:
        raise SandboxError(f"The program {name} is missing: install util-linux and coreutils.")
    return found


def guarded(command: list[str], *, groups: tuple[Path, ...]) -> list[str]:
    """`command` run so that it joins `groups` first and dies with this process, even if that dies while it starts."""
    guard = [tool("setpriv"), "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _GUARD, "guard", str(os.getpid())]
    return [*guard, *map(str, groups), "--", *command]


def become(job: Job) -> list[str]:
    """The command inside that tells `await_ready` that it is there and then becomes the job."""
    return ["/bin/sh", "-c", _BECOME, "launch", _CONFINE, *(f"{name}={value}" for name, value in job.env.items()), *job.argv]


def await_ready(stream: Stream, *, timeout: float = START_SECONDS) -> bool:
    """Waits until the job is about to run; whether Landlock confines it. Raises StreamClosed or StreamTimeout."""
    said = bytes(stream.receive(1, timeout=timeout))
    if said not in (landlock.CONFINED, landlock.PLAIN):
        raise StreamClosed("Something else than the launcher answered.")
    return said == landlock.CONFINED


def await_ready_or_end(stream: Stream, tree: Tree) -> bool:
    """The same for pipes that stay open when the job ends before it opened them: soon notices that, and a lost engine.

    Raises what `await_ready` and `tree.poll` raise.
    """
    for _ in range(int(START_SECONDS)):
        with contextlib.suppress(StreamTimeout):
            return await_ready(stream, timeout=1.0)
        status = tree.poll(0.001)
        if status is not None:
            raise StreamClosed(f"The container ended with status {status} before the job ran.")
    raise StreamTimeout("The container did not get ready in time.")


def demand_confined(job: Job, confined: bool) -> None:
    """Raises SandboxError for a started job that demands Landlock and has not got it."""
    if "landlock" in job.required and not confined:
        raise SandboxError("The job demands landlock, which this kernel or the system inside lacks.")


def demand(capabilities: Capabilities, job: Job) -> None:
    """Raises SandboxError where the backend does not run or does not fully keep a promise that the job requires."""
    why = " ".join(capabilities.notes)
    if not capabilities.available:
        raise SandboxError(f"The sandbox {capabilities.backend} cannot run jobs here: {why}")
    missing = capabilities.missing(job.required)
    if missing:
        raise SandboxError(f"The job demands {', '.join(missing)}, not fully enforced by {capabilities.backend} here: {why}")


def check(job: Job) -> None:
    """Raises SandboxError for a job that no backend could start, with the reason."""
    if not job.argv or not job.argv[0].startswith("/") or "=" in job.argv[0]:
        raise SandboxError(f"A job's program must be an absolute path without '=', not {job.argv[:1]}.")
    texts = (*job.argv, *job.env.values(), *(str(part) for mount in job.mounts for part in (mount.source, mount.target)))
    if any("\0" in text for text in texts):
        raise SandboxError("A job's command, environment and inputs cannot contain a zero byte.")
    for name in job.env:
        if not name or "=" in name or "\0" in name:
            raise SandboxError(f"The environment variable {name!r} cannot be given to a job.")
    for folder in job.hidden:
        if not folder.is_absolute() or ".." in folder.parts or "\0" in str(folder):
            raise SandboxError(f"{str(folder)!r} cannot be hidden: give an absolute path inside.")
    _check_targets({mount.target: mount.source for mount in job.mounts})


def _check_targets(mounts: Mapping[PurePosixPath, Path]) -> None:
    for target, source in mounts.items():
        if not source.is_absolute() or not source.exists():
            raise SandboxError(f"The input {source} (for {target}) does not exist or is not an absolute path.")
        if not target.is_absolute() or ".." in target.parts or len(target.parts) < 2 or target.parts[1] in _RESERVED:
            raise SandboxError(f"An input cannot appear at {target}: choose a folder that the base system does not have.")


_RESERVED = frozenset({"bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"})
