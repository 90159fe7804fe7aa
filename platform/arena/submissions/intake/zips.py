"""Reading a zip's table of contents without trusting it (PKWARE APPNOTE 6.3.10).

The end record is checked before `zipfile` reads the directory into memory, so a directory of millions of entries costs
nothing; entries that share bytes (the "better zip bomb", Fifield 2019) are refused.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import IO

from arena.submissions.intake.entries import Entry, refuse
from arena.submissions.intake.limits import Limits

_END = b"PK\x05\x06"
_END_SIZE = 22
_COMMENT_MAX = 65535
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_SIZE = 20
_LOCAL_HEADER_SIZE = 30
_UTF8 = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class _End:
    """The end record: where the directory is and how many entries it has."""

    entries: int
    directory_size: int
    directory_offset: int


def read_zip(file: IO[bytes], limits: Limits) -> list[Entry]:
    """The entries of a zip. Raises InputError when its structure is not plain."""
    end = _read_end(file)
    if end.entries > limits.entries:
        raise refuse(f"has {end.entries} entries; at most {limits.entries} are accepted.")
    if end.directory_size > limits.directory_bytes:
        raise refuse("has an oversized table of contents.")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, ValueError, OSError) as error:
        raise refuse(f"cannot be read as a zip: {error}.") from error
    infos = archive.infolist()
    if len(infos) != end.entries:
        raise refuse("has a table of contents that contradicts itself.")
    for info in infos:
        _check(info)
    _check_disjoint(infos, end)
    return [
        Entry(
            name=info.filename.rstrip("/") if info.is_dir() else info.filename,
            size=info.file_size,
            directory=info.is_dir(),
            open=partial(archive.open, info),
        )
        for info in infos
    ]


def _read_end(file: IO[bytes]) -> _End:
    """Finds the end record where `zipfile` finds it."""
    size = file.seek(0, 2)
    start = max(0, size - _END_SIZE - _COMMENT_MAX - _ZIP64_LOCATOR_SIZE)
    file.seek(start)
    tail = file.read()
    plain = len(tail) - _END_SIZE
    place = plain if tail[plain : plain + 4] == _END and tail.endswith(b"\0\0") else tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_SIZE:
        raise refuse("cannot be read as a zip: its end is missing.", help="Upload it again; it may have been cut short.")
    if tail[max(0, place - _ZIP64_LOCATOR_SIZE) : place].startswith(_ZIP64_LOCATOR):
        raise refuse("is a zip64 archive.", help="Pack it as a plain zip or as .tar.gz.")
    disk, directory_disk, here, entries, directory_size, offset, comment = struct.unpack("<4H2LH", tail[place + 4 : place + 22])
    if disk or directory_disk or here != entries:
        raise refuse("is one part of a zip over several files.")
    if start + place + _END_SIZE + comment != size or offset + directory_size != start + place:
        raise refuse("has bytes before, after or inside its zip structure that do not belong there.")
    return _End(entries=entries, directory_size=directory_size, directory_offset=offset)


def _check(info: zipfile.ZipInfo) -> None:
    """Refuses what is not a plainly stored or deflated regular file or folder."""
    name = info.orig_filename
    if "\0" in name:
        raise refuse("has a zero byte in its name.", where=name)
    if not name.isascii() and not info.flag_bits & _UTF8:
        raise refuse("has a name that is not marked as UTF-8.", where=name, help="Use plain ASCII names, or pack as .tar.gz.")
    if info.flag_bits & _ENCRYPTED:
        raise refuse("is encrypted.", where=name, help="Pack it without a password.")
    if info.compress_type not in _METHODS:
        raise refuse("uses an unusual compression.", where=name, help="Use the ordinary one (deflate).")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse("is a link, a device or something else that is not a file.", where=name)
    if info.is_dir() != (kind == stat.S_IFDIR) and kind:
        raise refuse("is named like a folder but is a file, or the other way round.", where=name)
    if info.is_dir() and info.file_size:
        raise refuse("is a folder with contents of its own.", where=name)


def _check_disjoint(infos: list[zipfile.ZipInfo], end: _End) -> None:
    """Refuses entries that share bytes with each other or with the directory."""
    free_from = 0
    for info in sorted(infos, key=lambda item: item.header_offset):
        if info.header_offset < free_from:
            raise refuse("shares its bytes with another entry.", where=info.filename)
        free_from = info.header_offset + _LOCAL_HEADER_SIZE + len(info.orig_filename.encode()) + info.compress_size
    if free_from > end.directory_offset:
        raise refuse("has an entry that reaches into its table of contents.")
