"""The folder with the site's data, before anything is read from it: is it ours, can it be written, is nobody else at it."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evaluator.errors import InputError

_LOCK = "serve.lock"
_ROOTS = "lost+found"  # at the top of a disk, and closed to everybody
_OTHER = "Name another folder with REDOUBT_DATA."


def check_folder(data: Path) -> None:
    """Makes the folder where there is none. Raises InputError where it belongs to somebody else or cannot be used."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        owner = data.stat().st_uid
        if owner != os.geteuid():
            theirs, yours = _name(owner), _name(os.geteuid())
            what = f"belongs to {theirs}, and you are {yours}. {theirs} could not use files that you write there."
            raise InputError(what, where=str(data), help=f"Run this as {theirs}. {_OTHER}")
        for path in (data, *(each for each in data.iterdir() if each.name != _ROOTS)):
            wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
            if not os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids):
                raise InputError("this user may not write or read it.", where=str(path), help=f"chmod u+rwX {path}. {_OTHER}")
        _write_once(data)
    except FileExistsError as error:
        raise InputError("is a file, not a folder.", where=str(data), help=f"Move it away. {_OTHER}") from error
    except NotADirectoryError as error:
        raise InputError("lies below a file, not a folder.", where=str(data), help=_OTHER) from error
    except PermissionError as error:
        what = "this user may not make, read or write it."
        raise InputError(what, where=str(error.filename or data), help=_OTHER) from error


def _write_once(data: Path) -> None:
    """Raises OSError, naming the folder, where no file can be written there."""
    try:
        with tempfile.TemporaryFile(dir=data) as file:
            file.write(bytes(4096))
    except OSError as error:
        error.filename = str(data)
        raise


@contextmanager
def held(data: Path, address: str) -> Iterator[None]:
    """Holds the folder as long as this lasts; the system lets go of it however the process ends.

    address: where the site can be reached, for the second process. Raises InputError where another process holds it.
    """
    with (data / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                lock.seek(0)
                raise InputError(
                    f"another Redoubt runs on this folder: {lock.read().strip() or 'it is just starting'}.",
                    where=str(data),
                    help="Stop it with Ctrl-C, or give this one a folder of its own with REDOUBT_DATA.",
                ) from error
            # else a file system without locks: better to run than to refuse
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {address}\n")
        lock.flush()
        yield
        with suppress(OSError):
            lock.truncate(0)


def _name(user: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(user).pw_name
    return f"user {user}"
