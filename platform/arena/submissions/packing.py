"""A folder as an archive whose bytes depend on its files alone, so that the same folder is recognised again."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold


def pack_folder(folder: Path) -> bytes:
    """The .zip of a folder's regular files, sorted, without times and owners; hidden files and caches are left out.

    Stored, not deflated: compressors differ from machine to machine.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_symlink() or not path.is_file() or any(part.startswith((".", "__pycache__")) for part in name.parts):
                continue
            info = zipfile.ZipInfo(name.as_posix(), date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()
