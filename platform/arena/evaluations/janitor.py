"""Removes stored files that no row names: what was stored by a process that was killed before it could commit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.core.files.storage import Storage
from django.db.models import FileField
from django.utils import timezone

from arena.evaluations.leases import database_now
from arena.matrix.models import Archive
from arena.submissions.models import Submission

# Far longer than from a file's storing to its commit, so that nothing which is still to be named is taken.
_AGE = timedelta(hours=1)
_AT_A_TIME = 500  # names in one question to the database
# What stores files, in which field, and below which folder of the storage its `upload_to` puts them.
_STORED = ((Submission, "archive", "submissions"), (Archive, "file", "adversarial"))


def remove_unnamed() -> tuple[str, ...]:
    """Removes files of at least an hour's age that no row names, and says which. Safe at any time and beside others."""
    removed = []
    # The earlier of two clocks: with one that is an hour ahead, what was stored just now would look as old.
    until = min(timezone.now(), database_now()) - _AGE
    for model, name, folder in _STORED:
        field = model._meta.get_field(name)
        assert isinstance(field, FileField)
        files = _below(field.storage, folder)
        while some := list(islice(files, _AT_A_TIME)):
            named = set(model._default_manager.filter(**{f"{name}__in": some}).values_list(name, flat=True))
            removed += [lost for lost in some if lost not in named and _remove(field.storage, lost, until)]
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
