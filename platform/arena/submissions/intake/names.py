"""Which names members may have: relative, plain, and different on every file system."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import Member, refuse


def plain(name: str) -> str:
    """The name as most tools write it: no "./" or byte order mark before it, letters composed (a Mac takes them apart)."""
    name = unicodedata.normalize("NFC", name.removeprefix("\ufeff"))
    while name.startswith("./"):
        name = name[2:]
    return name


def check_name(name: str, limits: ArchiveLimits) -> None:
    """Raises InputError for a name that could leave the folder it is unpacked to, or that could fool a reader."""
    if not name:
        raise refuse("has an entry without a name.")
    if name.startswith("/"):
        raise refuse("has an absolute name.", where=name, help="Pack the folder with relative names.")
    if "\\" in name or ":" in name:
        raise refuse("has a backslash or a colon in its name.", where=name, help="Use plain names with forward slashes.")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise refuse("has a name that leads elsewhere.", where=name, help="Names with .. or empty parts are not accepted.")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") for character in name):
        raise refuse("has invisible characters in its name.", where=name, help="Use plain names.")
    if len(name.encode()) > limits.path_bytes or len(parts) > limits.depth + 1:
        raise refuse(f"has a name over {limits.path_bytes} bytes or {limits.depth} folders deep.", where=name)


def check_distinct(members: Sequence[Member]) -> None:
    """Raises InputError when two names are the same file on some file system, or a file is also used as a folder."""
    files: set[str] = set()
    folders: set[str] = set()
    for member in members:
        key = unicodedata.normalize("NFKC", member.name).casefold()
        parts = key.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if member.directory:
            folders.add(key)
        elif key in files:
            raise refuse("is there twice (upper and lower case count as the same).", where=member.name)
        else:
            files.add(key)
    both = sorted(files & folders)
    if both:
        raise refuse("is both a file and a folder.", where=both[0])
