"""Writing a checked archive to an empty folder: regular files and folders only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from arena.submissions.intake.archives import opened
from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import chunks

FILE_MODE, FOLDER_MODE = 0o644, 0o755


def unpack(archive: IO[bytes], folder: Path, *, limits: ArchiveLimits | None = None) -> None:
    """Writes the files below the existing, empty `folder`, readable by everyone (the sandbox is another user).

    Checks the archive's structure again, since it was stored in between. Raises InputError.
    """
    with opened(archive, limits or ArchiveLimits.from_settings()) as contents:
        for member in contents.members:
            target = folder / member.name
            _make_folders(folder, target if member.directory else target.parent)
            if member.directory:
                continue
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(target, flags, FILE_MODE), "wb") as stream:
                for chunk in chunks(member):
                    stream.write(chunk)
                os.fchmod(stream.fileno(), FILE_MODE)


def _make_folders(root: Path, folder: Path) -> None:
    """Makes `folder` and those above it up to `root`, whatever the process's umask is."""
    if folder != root and not folder.is_dir():
        _make_folders(root, folder.parent)
        folder.mkdir()
        folder.chmod(FOLDER_MODE)
