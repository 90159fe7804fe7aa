"""Reading a tar without trusting it (POSIX.1-2017 pax; ustar and the GNU long-name extension).

A reader of our own, because the standard library's follows links, sparse maps and header blocks of any size. This one
knows regular files, folders, long names and second names of a file before (hard links), and refuses the rest by its type
letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import IO

from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import Member, refuse
from evaluator.errors import InputError

_BLOCK = 512
_HEADER_DATA_MAX = 64 * 1024
_FILE, _FOLDER, _HARD_LINK = (b"0", b"\0", b"7"), b"5", b"1"
_GNU_LONG_NAME, _GNU_LONG_LINK, _PAX, _PAX_GLOBAL, _LABEL = b"L", b"K", b"x", b"g", b"V"
_KINDS = {
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
_HELP = {
    b"2": "Put the file itself in its place.",
    b"S": "Pack it again without --sparse (-S); with bsdtar, add --no-read-sparse.",
}


@dataclass
class Slice:
    """A read-only view of `size` bytes of a file from `start` on."""

    file: IO[bytes]
    start: int
    size: int
    position: int = 0

    def read(self, size: int = -1, /) -> bytes:
        left = self.size - self.position
        self.file.seek(self.start + self.position)
        data = self.file.read(left if size < 0 else min(size, left))
        self.position += len(data)
        return data

    def close(self) -> None:
        """Nothing to do: the file belongs to the archive."""


def is_tar(head: bytes) -> bool:
    """Whether a file of which `head` are the first 512 bytes is a tar: its first header's check sum is right."""
    try:
        return len(head) == _BLOCK and head != bytes(_BLOCK) and _sum(head) == _number(head[148:156])
    except InputError:
        return False


def read_tar(file: IO[bytes], limits: ArchiveLimits) -> list[Member]:
    """The members of a plain tar. Raises InputError when its structure is not plain."""
    size = file.seek(0, 2)
    members: list[Member] = []
    files: dict[str, Member] = {}
    position, long_name, long_link, pax = 0, None, None, dict[str, str]()
    while True:
        file.seek(position)
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            raise refuse("cannot be read as a tar: its end is missing.", help="Upload it again; it may have been cut short.")
        if header == bytes(_BLOCK):
            return members
        name, kind, length = _name(header), header[156:157], _number(header[124:136])
        _check_sum(header, name)
        if kind == _PAX and "size" in pax:
            raise refuse("has two extended headers in a row.", where=name)
        held = 0 if kind == _HARD_LINK else length
        data, position = position + _BLOCK, position + _BLOCK + -(-held // _BLOCK) * _BLOCK
        if position > size:
            raise refuse("is cut short.", where=name, help="Upload it again.")
        if kind in (_GNU_LONG_NAME, _GNU_LONG_LINK, _PAX, _PAX_GLOBAL):
            block = _header_data(file, data, length, name)
            if kind == _GNU_LONG_NAME:
                long_name = _text(block.rstrip(b"\0"))
            elif kind == _GNU_LONG_LINK:
                long_link = _text(block.rstrip(b"\0"))
            elif kind == _PAX:
                pax = _pax(block, name)
            continue
        if kind == _LABEL:
            continue
        name = pax.get("path") or long_name or name
        link = pax.get("linkpath") or long_link or _text(header[157:257].split(b"\0", 1)[0])
        if pax.get("size", str(length)) != str(length):
            raise refuse("gives two different sizes.", where=name)
        long_name, long_link, pax = None, None, {}
        if kind not in (*_FILE, _FOLDER, _HARD_LINK):
            help = _HELP.get(kind, "Remove it: only files can be submitted.")
            raise refuse(f"is {_KINDS.get(kind, 'neither a file nor a folder')}.", where=name, help=help)
        if len(members) == limits.listed:
            raise refuse(f"has more than {limits.listed} entries.")
        folder = kind == _FOLDER or (kind != _HARD_LINK and name.endswith("/"))
        if folder and length:
            raise refuse("is a folder with contents of its own.", where=name)
        name = name.removeprefix("./").rstrip("/")
        if folder and name in ("", "."):  # `tar -C folder .` names the folder itself
            continue
        if kind == _HARD_LINK:
            first = files.get(link.removeprefix("./"))
            if first is None:
                raise refuse("is a hard link to a file that is not before it in the archive.", where=name)
            member = first.renamed(name)
        else:
            member = Member(name=name, size=length, directory=folder, open=partial(Slice, file, data, length))
        if not folder:
            files[name] = member
        members.append(member)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse("has a name that is not UTF-8.", where=raw.decode("latin-1"), help="Use plain ASCII names.") from error


def _name(header: bytes) -> str:
    """The name of a ustar header: the prefix field counts only in POSIX archives."""
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _number(field: bytes) -> int:
    """An octal field. The binary form that stands for sizes over 8 GiB is refused."""
    try:
        number = int(field.rstrip(b"\0 ").lstrip(b" ") or b"0", 8)
    except ValueError as error:
        raise refuse("has a header that is not a tar's.") from error
    if number < 0:
        raise refuse("has a negative size.")
    return number


def _check_sum(header: bytes, name: str) -> None:
    """The header's check sum counts its own field as spaces."""
    if _number(header[148:156]) != _sum(header):
        raise refuse("has a damaged header.", where=name, help="Upload it again.")


def _sum(header: bytes) -> int:
    return sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _header_data(file: IO[bytes], start: int, length: int, name: str) -> bytes:
    if length > _HEADER_DATA_MAX:
        raise refuse("has an oversized extended header.", where=name)
    file.seek(start)
    return file.read(length)


def _pax(block: bytes, name: str) -> dict[str, str]:
    """The records "LENGTH KEY=VALUE\\n" of a pax header that matter here; sparse files are refused."""
    records: dict[str, str] = {}
    while block:
        digits, _, _ = block.partition(b" ")
        if not digits.isdigit() or not len(digits) + 2 < int(digits[:9]) <= len(block):
            raise refuse("has a damaged extended header.", where=name)
        record, block = block[len(digits) + 1 : int(digits)], block[int(digits) :]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if key in (b"path", b"size", b"linkpath"):
            records[key.decode()] = _text(value)
        elif key.startswith(b"GNU.sparse"):
            raise refuse("is a sparse file.", where=name, help=_HELP[b"S"])
    return records
