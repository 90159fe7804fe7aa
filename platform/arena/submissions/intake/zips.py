"""Reading a zip's table of contents without trusting it (PKWARE APPNOTE 6.3.10).

The end record is checked before `zipfile` reads the directory into memory, so a directory of millions of members costs
nothing. Members that share bytes (the "better zip bomb", Fifield 2019) are refused.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import IO

from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import Member, refuse

_END = b"PK\x05\x06"
_END_SIZE = 22
_COMMENT_MAX = 65535
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_SIZE = 20
_ZIP64_END = b"PK\x06\x06"
_ZIP64_END_SIZE = 56
_DOS, _DOS_FOLDER = 0, 0x10  # who made an member; the attribute of a folder
_LOCAL_HEADER_SIZE = 30
_UTF8 = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_METHOD_NAMES = {9: "Deflate64, which Windows uses over 2 GB", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz"}


@dataclass(frozen=True)
class _End:
    """The end record: where the directory is and how many members it has."""

    members: int
    directory_size: int
    directory_offset: int


def read_zip(file: IO[bytes], limits: ArchiveLimits) -> list[Member]:
    """The members of a zip. Raises InputError when its structure is not plain."""
    end = _read_end(file)
    if end.members > limits.listed:
        raise refuse(f"has {end.members} entries; at most {limits.listed} are accepted.")
    if end.directory_size > limits.directory_bytes:
        raise refuse("has an oversized table of contents.")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, ValueError, OSError) as error:
        raise refuse(f"cannot be read as a zip: {error}.") from error
    infos = archive.infolist()
    if len(infos) != end.members:
        raise refuse("has a table of contents that contradicts itself.")
    for info in infos:
        _check(info)
    _check_disjoint(infos, end)
    return [
        Member(name=_name(info), size=info.file_size, directory=_is_folder(info), open=partial(archive.open, info))
        for info in infos
        if _name(info) not in ("", ".")  # an member for the folder itself
    ]


def _name(info: zipfile.ZipInfo) -> str:
    """The entry's name, without the final slash of folders.

    A name that is not ASCII and not marked as UTF-8 is that all the same where it can be (what a Mac writes), else in the code
    page of DOS. Older .NET writes backslashes between folders; anything else with one in its name is refused by `check_name`.
    """
    name = info.filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    if info.create_system == _DOS and "/" not in name:
        name = name.replace("\\", "/")
    return name.removeprefix("./").rstrip("/")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """By its name, or by its attributes where a tool forgot the slash."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    marked = kind == stat.S_IFDIR or (kind == 0 and bool(info.external_attr & _DOS_FOLDER))
    return info.filename.endswith(("/", "\\")) or (marked and info.file_size == 0)


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
    disk, directory_disk, here, members, directory_size, offset, comment = struct.unpack("<4H2LH", tail[place + 4 : place + 22])
    ends = start + place
    locator = tail[max(0, place - _ZIP64_LOCATOR_SIZE) : place]
    if locator.startswith(_ZIP64_LOCATOR):
        ends = start + place - _ZIP64_LOCATOR_SIZE - _ZIP64_END_SIZE
        disk, directory_disk, here, members, directory_size, offset = _read_zip64_end(file, ends, locator)
    if disk or directory_disk or here != members:
        raise refuse("is one part of a zip over several files.", help="Pack it as one file.")
    if start + place + _END_SIZE + comment != size or offset + directory_size != ends:
        raise refuse("has bytes before, after or inside its zip structure that do not belong there.")
    return _End(members=members, directory_size=directory_size, directory_offset=offset)


def _read_zip64_end(file: IO[bytes], place: int, locator: bytes) -> tuple[int, int, int, int, int, int]:
    """Disk, directory's disk, members here, members, directory size and offset of the larger end record at `place`."""
    if place < 0 or len(locator) < _ZIP64_LOCATOR_SIZE or struct.unpack("<Q", locator[8:16]) != (place,):
        raise refuse("has a zip64 end that is not where it says.")
    file.seek(place)
    record = file.read(_ZIP64_END_SIZE)
    if record[:4] != _ZIP64_END or struct.unpack("<Q", record[4:12]) != (_ZIP64_END_SIZE - 12,):
        raise refuse("has a damaged zip64 end.", help="Upload it again; it may have been cut short.")
    return struct.unpack("<2L4Q", record[16:])


def _check(info: zipfile.ZipInfo) -> None:
    """Refuses what is not a plainly stored or deflated regular file or folder."""
    name = info.orig_filename
    if "\0" in name:
        raise refuse("has a zero byte in its name.", where=name)
    if info.flag_bits & _ENCRYPTED:
        raise refuse("is encrypted.", where=name, help="Pack it without a password.")
    if info.compress_type not in _METHODS:
        method = _METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
        raise refuse(f"uses an unusual compression ({method}).", where=name, help="Use the ordinary one (deflate), or .tar.gz.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise refuse("is a symbolic link, not a file.", where=name, help="Put the file itself in its place.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse("is a device or something else that is not a file.", where=name, help="Remove it.")
    if _is_folder(info) != (kind == stat.S_IFDIR) and kind:
        raise refuse("is named like a folder but is a file, or the other way round.", where=name)
    if _is_folder(info) and info.file_size:
        raise refuse("is a folder with contents of its own.", where=name)


def _check_disjoint(infos: list[zipfile.ZipInfo], end: _End) -> None:
    """Refuses members that share bytes with each other or with the directory."""
    free_from = 0
    for info in sorted(infos, key=lambda item: item.header_offset):
        if info.header_offset < free_from:
            raise refuse("shares its bytes with another entry.", where=info.filename)
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        free_from = info.header_offset + _LOCAL_HEADER_SIZE + len(name) + info.compress_size
    if free_from > end.directory_offset:
        raise refuse("has an entry that reaches into its table of contents.")
