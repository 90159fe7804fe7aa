"""Removes what crashed processes left behind: control groups with their processes, containers, temporary folders."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox.docker.sandbox import OWNER_LABEL, UNTIL_LABEL, DockerSettings, connect
from sandbox.docker.tree import remove_container
from sandbox.kernel import cgroups
from sandbox.launcher.client import SCRATCH
from sandbox.owner import Owner, boot_id
from sandbox.scratch import remove_leftovers

_GRACE_SECONDS = 60.0


def sweep(settings: DockerSettings | None = None) -> tuple[str, ...]:
    """Removes leftovers of owners that have certainly ended, and says what they were. Safe beside running jobs.

    settings: the engine to look at; None leaves Docker out. Folders are looked for in the system's place for temporary files
    and where named pipes are made. Raises SandboxError when the engine does not answer.
    """
    removed = _control_groups()
    if settings is not None:
        removed += _containers(settings)
    for place in _places(settings):
        removed += _folders(place)
    return tuple(removed)


def _places(settings: DockerSettings | None) -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    scratch = os.environ.get(SCRATCH) if settings is None else settings.scratch
    if scratch:
        yield Path(scratch)


def _control_groups() -> list[str]:
    found = list(cgroups.leftovers())
    for directory in found:
        cgroups.remove_leftover(directory)
    return [f"control group {directory}" for directory in found]


def _folders(parent: Path) -> list[str]:
    return [f"folder {folder}" for folder in remove_leftovers(parent)]


def _containers(settings: DockerSettings) -> list[str]:
    api = connect(settings)
    removed = []
    for container in api.containers(all=True, filters={"label": [OWNER_LABEL]}):
        # The engine's list is a view of its own and can go on naming one that is long gone.
        if _is_orphan(container["Labels"]) and remove_container(api, container["Id"]):
            removed.append(f"container {container['Id'][:12]}")
    return removed


def _is_orphan(labels: dict[str, str]) -> bool:
    boot, _, text = labels[OWNER_LABEL].partition("/")
    owner = Owner.parse(text)
    if boot != boot_id() or owner is None or owner.is_dead():
        return True
    # An owner in another container cannot be seen from here; but no job of its outlives its own time.
    return float(labels.get(UNTIL_LABEL, "0")) + _GRACE_SECONDS < time.time()
