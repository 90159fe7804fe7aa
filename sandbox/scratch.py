"""Temporary folders that carry their owner's name, so that those of a crashed process are distinct from work in progress.

An owner in another pid namespace, such as another container that shares the place, cannot be looked up by its number. Each
folder is therefore locked (flock(2)) by its maker: the kernel releases the lock when that ends, however it ends. A process that
gets it knows that the folder is nobody's. See docs/decisions/0008-a-lock-tells-the-owner.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.owner import Owner

_NAME = re.compile(r"[a-z][a-z-]*-(\d+-\d+-\d+)-[a-z0-9_]{8}")  # the end is tempfile's


class OwnedFolder:
    """A new empty folder `PREFIXOWNER-RANDOM`, held until `remove` or this process's end."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        """prefix: small letters and dashes, ending in one. parent: None for the system's place for temporary files."""
        self.path, lock = _make_locked(f"{prefix}{Owner.current()}-", parent)
        self._lock: int | None = lock

    def remove(self, *, ignore_errors: bool = False) -> None:
        """With all that it holds. Raises OSError unless errors are to be ignored."""
        try:
            shutil.rmtree(self.path, ignore_errors=ignore_errors)
        finally:
            lock, self._lock = self._lock, None
            if lock is not None:
                os.close(lock)


@contextmanager
def owned_folder(prefix: str) -> Iterator[Path]:
    """The same for the time of a `with` block."""
    folder = OwnedFolder(prefix)
    try:
        yield folder.path
    finally:
        folder.remove()


def remove_leftovers(parent: Path) -> list[Path]:
    """Removes folders in `parent` whose owner has certainly ended, and says which."""
    return [folder for folder in parent.iterdir() if _remove_if_nobodys(folder)]


def _make_locked(prefix: str, parent: Path | None) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            lock = _open(path)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # A sweep may have had it before it was locked; that removes it under the lock.
            if path.exists():
                return path, lock
            os.close(lock)


def _remove_if_nobodys(folder: Path) -> bool:
    match = _NAME.fullmatch(folder.name)
    owner = Owner.parse(match[1]) if match else None
    if owner is None or folder.is_symlink() or not folder.is_dir():
        return False
    if owner.is_near():
        return owner.is_dead() and _remove(folder)
    try:
        lock = _open(folder)
    except OSError:  # it is another user's, or another sweep was faster
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
