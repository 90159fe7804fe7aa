"""Reading a tar without trusting it (POSIX.1-2017 pax; ustar and the GNU long-name extension).

A reader of our own, because the standard library's follows links, sparse maps and header blocks of any size: this one
knows regular files, folders and long names, and refuses the rest by its type letter.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from dataclasses import dataclass
from functools import partial
from typing import IO

from arena.submissions.intake.entries import Entry, refuse
from arena.submissions.intake.limits import MIB, Limits

_BLOCK = 512
_HEADER_DATA_MAX = 64 * 1024
_FILE, _FOLDER = (b"0", b"\0"), b"5"
_GNU_LONG_NAME, _PAX, _PAX_GLOBAL = b"L", b"x", b"g"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
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


def inflate(file: IO[bytes], limits: Limits) -> IO[bytes]:
    """The tar inside a .tar.gz as an anonymous temporary file, never larger than the limits allow."""
    packed = file.seek(0, 2)
    file.seek(0)
    ceiling = limits.unpacked_bytes + 2 * _BLOCK * limits.entries + MIB
    if packed * limits.ratio > limits.ratio_from:
        ceiling = min(ceiling, packed * limits.ratio)
    else:
        ceiling = min(ceiling, limits.ratio_from)
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the entries do
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            written = 0
            while chunk := stream.read(MIB):
                written += len(chunk)
                if written > ceiling:
                    raise refuse(f"unpacks to more than {ceiling // MIB} MiB.", help="Submit smaller weights.")
                plain.write(chunk)
    except (OSError, EOFError, zlib.error) as error:
        plain.close()
        raise refuse(f"cannot be read as .tar.gz: {error}.", help="Upload it again; it may have been cut short.") from error
    except BaseException:
        plain.close()
        raise
    return plain


def read_tar(file: IO[bytes], limits: Limits) -> list[Entry]:
    """The entries of a plain tar. Raises InputError when its structure is not plain."""
    size = file.seek(0, 2)
    entries: list[Entry] = []
    position, long_name, pax = 0, None, dict[str, str]()
    while True:
        file.seek(position)
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            raise refuse("cannot be read as a tar: its end is missing.", help="Upload it again; it may have been cut short.")
        if header == bytes(_BLOCK):
            return entries
        name, kind, length = _name(header), header[156:157], _number(header[124:136])
        _check_sum(header, name)
        if kind == _PAX and "size" in pax:
            raise refuse("has two extended headers in a row.", where=name)
        data, position = position + _BLOCK, position + _BLOCK + -(-length // _BLOCK) * _BLOCK
        if position > size:
            raise refuse("is cut short.", where=name, help="Upload it again.")
        if kind in (_GNU_LONG_NAME, _PAX, _PAX_GLOBAL):
            block = _header_data(file, data, length, name)
            if kind == _GNU_LONG_NAME:
                long_name = _text(block.rstrip(b"\0"))
            elif kind == _PAX:
                pax = _pax(block, name)
            continue
        name = pax.get("path") or long_name or name
        if pax.get("size", str(length)) != str(length):
            raise refuse("gives two different sizes.", where=name)
        long_name, pax = None, {}
        if kind not in (*_FILE, _FOLDER):
            raise refuse(f"is {_KINDS.get(kind, 'neither a file nor a folder')}.", where=name)
        if len(entries) == limits.entries:
            raise refuse(f"has more than {limits.entries} entries.")
        folder = kind == _FOLDER or name.endswith("/")
        if folder and length:
            raise refuse("is a folder with contents of its own.", where=name)
        name = name.removeprefix("./").rstrip("/")
        if folder and name in ("", "."):  # `tar -C folder .` names the folder itself
            continue
        entries.append(Entry(name=name, size=length, directory=folder, open=partial(Slice, file, data, length)))


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
    if _number(header[148:156]) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise refuse("has a damaged header.", where=name, help="Upload it again.")


def _header_data(file: IO[bytes], start: int, length: int, name: str) -> bytes:
    if length > _HEADER_DATA_MAX:
        raise refuse("has an oversized extended header.", where=name)
    file.seek(start)
    return file.read(length)


def _pax(block: bytes, name: str) -> dict[str, str]:
    """The records "LENGTH KEY=VALUE\\n" of a pax header that matter here; sparse files and links are refused."""
    records: dict[str, str] = {}
    while block:
        digits, _, _ = block.partition(b" ")
        if not digits.isdigit() or not len(digits) + 2 < int(digits[:9]) <= len(block):
            raise refuse("has a damaged extended header.", where=name)
        record, block = block[len(digits) + 1 : int(digits)], block[int(digits) :]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if key in (b"path", b"size"):
            records[key.decode()] = _text(value)
        elif key == b"linkpath" or key.startswith(b"GNU.sparse"):
            raise refuse("is a link or a sparse file.", where=name)
    return records
