"""What a client may ask of the launcher: one of a few programs, on one folder, within ceilings. Nothing else is configurable.

One request or reply is one line of JSON. Asked: {"ask": "capabilities" | "start" | "poll" | "memory" | "kill" | "remove", ...}.
Answered: {"answer": ...}, or {"error": TEXT, "unavailable": BOOL}.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from sandbox.base import Job, Limits, Mount, SandboxError

LINE_BYTES = 16 * 1024
_PIPES = re.compile(r"sandbox-\d+-\d+-\d+-[a-z0-9_]{8}")
_THREADS = 256


@dataclass(frozen=True)
class Template:
    """What the launcher's operator has decided.

    python: the interpreter inside. programs: modules that may be run, and where each sees its folder. inputs: folders of jobs
    must lie below it. scratch: where clients make their named pipes. ceilings: no limit of a job may exceed its own. mounts and
    env: the same for every job. hidden: folders that appear empty to a program.
    """

    python: str
    programs: Mapping[str, PurePosixPath]
    inputs: Path
    scratch: Path
    ceilings: Limits = field(default_factory=Limits)
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, tuple[PurePosixPath, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """A checked request. pipes: the folder of the client's named pipes."""

    job: Job
    pipes: Path


def ask_start(module: str, folder: Path, pipes: Path, threads: int, limits: Limits) -> dict[str, Any]:
    """The request that `checked` takes."""
    given = {"module": module, "folder": str(folder), "pipes": pipes.name, "threads": threads, "limits": asdict(limits)}
    return {"ask": "start", **given}


def checked(request: Mapping[str, Any], template: Template) -> Start:
    """The job that a client asked for. Raises SandboxError for anything that the template does not provide for."""
    if set(request) != {"ask", "module", "folder", "pipes", "threads", "limits"}:
        raise SandboxError(f"A start has a module, folder, pipes, threads and limits, not {sorted(request)}.")
    target = template.programs.get(_text(request["module"]))
    if target is None:
        raise SandboxError(f"The launcher runs {' or '.join(sorted(template.programs))}, not {str(request['module'])[:80]!r}.")
    threads = request["threads"]
    if type(threads) is not int or not 1 <= threads <= _THREADS:
        raise SandboxError(f"A job has 1 to {_THREADS} threads.")
    folder = _below(template.inputs, _text(request["folder"]))
    return Start(
        Job(
            argv=(template.python, "-m", request["module"], str(target)),
            mounts=(*template.mounts, Mount(folder, target)),
            hidden=template.hidden.get(request["module"], ()),
            env={**template.env, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"},
            limits=_limits(request["limits"], template.ceilings),
            required=(),  # the client demands; it knows what is enforced
        ),
        _pipes(template.scratch, _text(request["pipes"])),
    )


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises SandboxError for anything that is not one object on one line."""
    if len(line) > LINE_BYTES or not line.endswith(b"\n"):
        raise SandboxError("A message to or from the launcher is one line of at most 16 KiB.")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SandboxError("A message to or from the launcher is not JSON.") from error
    if not isinstance(message, dict):
        raise SandboxError("A message to or from the launcher is not an object.")
    return message


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise SandboxError("Names given to the launcher are texts.")
    return value


def _below(root: Path, name: str) -> Path:
    """The folder itself, links resolved, which must lie below `root`."""
    try:
        folder, top = Path(name).resolve(strict=True), root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SandboxError(f"The folder {name[:200]} cannot be given to a job: {error}.") from error
    if top not in folder.parents or not folder.is_dir():
        raise SandboxError(f"A job's folder lies below {root}; {name[:200]} does not.")
    return folder


def _pipes(scratch: Path, name: str) -> Path:
    folder = scratch / name
    if not _PIPES.fullmatch(name) or folder.is_symlink() or not folder.is_dir():
        raise SandboxError(f"{name[:80]!r} is no folder of named pipes in {scratch}.")
    return folder


def _limits(given: object, ceilings: Limits) -> Limits:
    names = {item.name for item in fields(Limits)}
    if not isinstance(given, dict) or set(given) != names:
        raise SandboxError(f"The limits of a job are {', '.join(sorted(names))}, all of them.")
    for name, value in given.items():
        ceiling = getattr(ceilings, name)
        kind = type(value)
        if kind not in (int, float) or (kind is float and type(ceiling) is int) or not math.isfinite(value):
            raise SandboxError(f"The limit {name} is no number.")
        if not 0 < value <= ceiling:
            raise SandboxError(f"The limit {name} is at most {ceiling} here, and more than 0; {value} was asked for.")
    return Limits(**given)
