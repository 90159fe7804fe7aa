"""One control group per job: bounds on memory, number of processes and CPU for the whole tree together.

Works with version 1 (one hierarchy per controller) and version 2 (one for all), and with both mounted at once, whichever the
machine offers this user. A job's group is made below the group of this process (version 1), so that outer bounds still hold,
or beside it (version 2, where a group with processes cannot hand out controllers).
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.base import Limits, SandboxError
from sandbox.owner import Owner

CONTROLLERS = ("memory", "pids", "cpu")
_PREFIX = "sandbox-"
_PERIOD_US = 100_000
_REMOVE_SECONDS = 10.0
# A job's group also holds bubblewrap's two own processes.
_OWN_PROCESSES = 2


@dataclass(frozen=True)
class Parent:
    """A directory in which this process may make groups for a controller. version: 1 or 2."""

    version: int
    path: Path


@functools.cache
def parents() -> Mapping[str, Parent]:
    """For each controller that can be used here, where; found by making a group there and removing it again."""
    return _version_2() | _version_1()


class Group:
    """The groups of one job, one directory for each hierarchy."""

    def __init__(self, limits: Limits) -> None:
        """Makes the groups and sets their bounds. Raises SandboxError when the kernel refuses one."""
        name = f"{_PREFIX}{Owner.current()}-{secrets.token_hex(4)}"
        self._directories = {controller: (parent.version, parent.path / name) for controller, parent in parents().items()}
        try:
            for directory in self.directories:
                directory.mkdir()
            for controller, (version, directory) in self._directories.items():
                for file, value in _settings(controller, version, limits):
                    _write(directory / file, value)
        except OSError as error:
            self.remove()
            raise SandboxError(f"The control group {name} could not be set up: {error}.") from error

    @property
    def directories(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(directory for _, directory in self._directories.values()))

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._directories)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of this job because memory ran out."""
        version, directory = self._directories.get("memory", (0, Path()))
        if version == 0:
            return False
        events = _read_table(directory / ("memory.oom_control" if version == 1 else "memory.events"))
        return events.get("oom_kill", 0) > 0

    def remove(self) -> None:
        """Kills whatever is left inside and removes the groups. Idempotent. Raises SandboxError when it cannot."""
        for directory in self.directories:
            _remove(directory)


def leftovers() -> Iterator[Path]:
    """Groups of jobs whose owner has certainly ended, wherever they are: their owner's group need not have been ours."""
    roots = {mount for mount, _, options in _mounts("cgroup") if set(options) & set(CONTROLLERS)}
    for root in roots | {mount for mount, _, _ in _mounts("cgroup2")}:
        for folder, _, _ in os.walk(root):  # which, unlike rglob, does not mind that groups come and go
            owner = _owner(Path(folder))
            if owner is not None and owner.is_dead() and os.access(folder, os.W_OK):
                yield Path(folder)


def remove_leftover(directory: Path) -> None:
    """Kills what is inside an orphaned group and removes it. Raises SandboxError when it cannot."""
    _remove(directory)


def _owner(directory: Path) -> Owner | None:
    """Whose job's group this is, by its name; None for every other group."""
    if not directory.name.startswith(_PREFIX):
        return None
    return Owner.parse(directory.name.removeprefix(_PREFIX).rpartition("-")[0])


def _settings(controller: str, version: int, limits: Limits) -> list[tuple[str, str]]:
    memory, processes = str(limits.memory_mb << 20), str(limits.processes + _OWN_PROCESSES)
    quota = str(max(1000, int(limits.cpus * _PERIOD_US)))
    if version == 1:
        return {
            "memory": [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)],
            "pids": [("pids.max", processes)],
            "cpu": [("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", quota)],
        }[controller]
    return {
        "memory": [("memory.max", memory), ("memory.swap.max", "0"), ("memory.oom.group", "1")],
        "pids": [("pids.max", processes)],
        "cpu": [("cpu.max", f"{quota} {_PERIOD_US}")],
    }[controller]


def _write(file: Path, value: str) -> None:
    # Kernels without swap accounting lack the swap files; without swap there is nothing for them to bound.
    if not file.exists() and ("memsw" in file.name or "swap" in file.name):
        return
    file.write_text(value)


def _version_1() -> dict[str, Parent]:
    own, found = _own_groups(), {}
    for mount, root, options in _mounts("cgroup"):
        for controller in set(options) & set(CONTROLLERS):
            path = own.get(controller, "/")
            found[controller] = Parent(1, mount / os.path.relpath(path, root) if path.startswith(root) else mount)
    return {name: parent for name, parent in found.items() if _can_make_group(parent.path)}


def _version_2() -> dict[str, Parent]:
    """The nearest group upwards that hands out what matters. All from one: a process is in one group of version 2 only."""
    for mount, root, _ in _mounts("cgroup2"):
        own = mount / os.path.relpath(_own_groups().get("", "/"), root)
        for directory in (own, *own.parents):
            control = directory / "cgroup.subtree_control"
            enabled = control.read_text().split() if control.is_file() else []
            # To move a process takes the right to write where it comes from and where it goes, and above both.
            if (
                {"memory", "pids"} <= set(enabled)
                and os.access(directory / "cgroup.procs", os.W_OK)
                and _can_make_group(directory)
            ):
                return {name: Parent(2, directory) for name in CONTROLLERS if name in enabled}
    return {}


def _mounts(kind: str) -> Iterator[tuple[Path, str, list[str]]]:
    """Mount point, root within the hierarchy and super-block options of each mounted hierarchy (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        front, _, back = line.partition(" - ")
        fields, (file_system, _, options) = front.split(), back.split(" ", 2)
        if file_system == kind:
            yield Path(fields[4]), fields[3], options.split(",")


def _own_groups() -> dict[str, str]:
    """This process's group in each hierarchy; version 2 has the empty name."""
    groups: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    return groups


def _can_make_group(parent: Path) -> bool:
    trial = parent / f"{_PREFIX}{Owner.current()}-trial{secrets.token_hex(4)}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


def _read_table(file: Path) -> dict[str, int]:
    try:
        return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}
    except OSError:
        return {}


def _remove(directory: Path) -> None:
    """Kills everything in a job's group and removes it; any other group is always refused."""
    if _owner(directory) is None:
        raise ValueError(f"{directory} is not the group of a job")
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        for pid in _members(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SandboxError(f"The control group {directory} could not be removed: {error}.") from error
            time.sleep(0.002)
        else:
            return


def _members(directory: Path) -> list[int]:
    try:
        return [int(pid) for pid in (directory / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError:
        return []
