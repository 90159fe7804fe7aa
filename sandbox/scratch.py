"""Temporary folders that carry their owner's name, so that those of a crashed process can be told from work in progress."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.owner import Owner

_NAME = re.compile(r"[a-z][a-z-]*-(\d+-\d+-\d+)-[a-z0-9_]{8}")  # the end is tempfile's


def make_owned_folder(prefix: str, parent: Path | None = None) -> Path:
    """A new empty folder `PREFIXOWNER-RANDOM`, for its maker to remove.

    prefix: small letters and dashes, ending in one. parent: None for the system's place for temporary files.
    """
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{Owner.current()}-", dir=parent))


@contextmanager
def owned_folder(prefix: str) -> Iterator[Path]:
    """The same for the time of a `with` block."""
    folder = make_owned_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def leftover_folders(parent: Path) -> Iterator[Path]:
    """Folders in `parent` whose owner has certainly ended."""
    for folder in parent.iterdir():
        match = _NAME.fullmatch(folder.name)
        owner = Owner.parse(match[1]) if match else None
        if owner is not None and owner.is_dead() and folder.is_dir() and not folder.is_symlink():
            yield folder
