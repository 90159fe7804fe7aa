"""What goes wrong with the disk and the database file, said in one sentence instead of a traceback."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from evaluator.errors import PlatformError

STORAGE_FAILS = "The site cannot store anything now."  # what strangers see, without its paths
NOTHING_STORED = "Nothing was stored; try again later."
_AGAIN_SECONDS = 60.0
_FULL = "the disk is full"
_OF_FILES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not write or read there",
    errno.EPERM: "this user may not write or read there",
}
_OF_SQLITE = {
    "database or disk is full": _FULL,
    "disk i/o error": "the disk is full or does not work",
    "malformed": "it is damaged",
    "not a database": "it is damaged",
    "readonly database": "this user may not write to it",
    "unable to open database file": "it cannot be opened by this user",
}
_HELP = {
    _FULL: "Make room; what was stored is still there.",
    "it is damaged": "Restore it from your backup, or move it away to start with an empty site.",
}


def storage_fault(error: BaseException, *, data: Path, database: Path | None = None) -> PlatformError | None:
    """The error as a sentence where the disk or the database file is at fault; None for any other error.

    data: the folder with the site's data; database: SQLite's file. What the error was raised from is looked at, too.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _OF_FILES:
            return _fault(_OF_FILES[seen.errno], str(seen.filename or data))
        if isinstance(seen, DatabaseError) and database is not None:
            said = str(seen).lower()
            for words, what in _OF_SQLITE.items():
                if words in said:
                    return _fault(what, str(database))
        seen = seen.__cause__
    return None


def _fault(what: str, where: str) -> PlatformError:
    help = _HELP.get(what, "Correct that and try again; what was stored is still there.")
    return PlatformError("storage", f"{what}.", where=where, help=help)


def site_fault(error: BaseException | None) -> PlatformError | None:
    """The same for the running site, where a permission that is missing is no fault of the disk but one of ours."""
    if error is None or isinstance(error, PermissionError):
        return None
    file = Path(str(settings.DATABASES["default"]["NAME"])) if connection.vendor == "sqlite" else None
    return storage_fault(error, data=settings.DATA_DIR, database=file)


class InOneLine(logging.Filter):
    """Logs a fault of the disk as its sentence, without the traceback, and once a minute however often it is met."""

    _said, _at = "", 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        fault = site_fault(record.exc_info[1] if record.exc_info else None)
        if fault is None:
            return True
        record.msg, record.args, record.exc_info, record.exc_text = str(fault), (), None, None
        if self._said == record.msg and record.created - self._at < _AGAIN_SECONDS:
            return False
        self._said, self._at = record.msg, record.created
        return True


@contextmanager
def in_one_sentence(*, data: Path, database: Path | None = None) -> Iterator[None]:
    """Raises PlatformError for what `storage_fault` knows, and for a secret key that is no key; everything else as it is."""
    try:
        yield
    except ImproperlyConfigured as error:
        raise PlatformError("settings", f"{error}".rstrip(".") + ".", where="settings") from error
    except (OSError, DatabaseError) as error:
        known = storage_fault(error, data=data, database=database)
        if known is None:
            raise
        raise known from error
