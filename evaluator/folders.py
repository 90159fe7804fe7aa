"""What belongs to a submission's folder, and what tools put there or into its archive of their own accord. Torch-free."""

from __future__ import annotations

import re
from pathlib import Path

from evaluator.errors import InputError

_FOLDERS = frozenset({
    "__macosx", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", ".documentrevisions-v100", ".appledouble",
    "system volume information", "$recycle.bin", "@eadir", "lost+found", "__pycache__", ".ipynb_checkpoints", ".git", ".hg",
    ".svn", ".idea", ".vscode", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache",
})  # fmt: skip
_FILES = frozenset({
    ".ds_store", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", ".localized", ".apdisk",
    ".volumeicon.icns", ".directory", "pax_global_header",
})  # fmt: skip
# AppleDouble; Office's and NFS's locks; trash of Linux desktops; pax headers as files; where Windows keeps a download's origin.
_PATTERNS = re.compile(r"\._.*|~\$.*|\.nfs[0-9a-f]{8,}|\.trash-\d+|paxheaders?(\.\d+)?|.*:zone\.identifier")


def is_litter(name: str) -> bool:
    """Whether a file or folder is one that an operating system, a packing tool or an editor left there.

    name: relative, with forward slashes; a file in a folder of that kind is litter, too. Case does not count.
    """
    *folders, last = name.casefold().split("/")
    return (
        last in _FILES
        or any(part in _FOLDERS for part in (*folders, last))
        or any(_PATTERNS.fullmatch(part) is not None for part in (*folders, last))
    )


def submission_files(folder: Path) -> list[tuple[str, Path]]:
    """Every file that belongs to the submission in `folder`, sorted: its relative name with forward slashes, and its path.

    Litter is left out. Raises InputError for what is no folder, and for a link or a special file in it: what a link leads to
    may lie anywhere.
    """
    if not folder.is_dir():
        raise InputError("is not a folder.", where=str(folder), help="Pass the folder that holds the manifest.")
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_litter(name) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            target = "a symbolic link" if path.exists() else "a symbolic link to something that is not there"
            raise InputError(f"is {target}.", where=name, help="Put the file itself in its place.")
        if not path.is_file():
            raise InputError("is a pipe, a socket or a device.", where=name, help="Remove it: only files can be submitted.")
        found.append((name, path))
    return found
