"""Removes stored files that no row names: what was stored by a process that was killed before it could commit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.core.files.storage import Storage
from django.utils import timezone

from arena.jobs.clock import database_now
from arena.jobs.stored_files import stored

# Far longer than from a file's storing to its commit, so that nothing which is still to be named is taken.
_AGE = timedelta(hours=1)
_AT_A_TIME = 500  # names in one question to the database


def sweep_unnamed() -> tuple[str, ...]:
    """Removes files of at least an hour's age that no row names, and says which. Safe at any time and beside others."""
    removed = []
    # The earlier of two clocks: with one that is an hour ahead, what was stored just now would look as old.
    until = min(timezone.now(), database_now()) - _AGE
    for kind in stored():
        files = _below(kind.storage, kind.folder)
        while some := list(islice(files, _AT_A_TIME)):
            named = set(kind.names().filter(**{f"{kind.field}__in": some}))
            removed += [lost for lost in some if lost not in named and _remove(kind.storage, lost, until)]
    return tuple(removed)


def _below(storage: Storage, folder: str) -> Iterator[str]:
    try:
        folders, files = storage.listdir(folder)
    except FileNotFoundError:
        return
    yield from (f"{folder}/{file}" for file in sorted(files))
    for inner in sorted(folders):
        yield from _below(storage, f"{folder}/{inner}")


def _remove(storage: Storage, name: str, until: datetime) -> bool:
    try:
        if storage.get_modified_time(name) >= until:
            return False
    except FileNotFoundError:  # another worker was faster
        return False
    storage.delete(name)
    return True
