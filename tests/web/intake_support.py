"""Archives that no well-meaning program makes."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

import pytest

from arena.submissions.intake import ArchiveLimits, inspect
from evaluator.errors import InputError

LIMITS = ArchiveLimits(archive_bytes=32 << 20, members=200)


def refused(data: bytes, *, limits: ArchiveLimits = LIMITS) -> str:
    """The sentence with which the intake refuses these bytes; every one says what to do."""
    with pytest.raises(InputError) as caught:
        inspect(io.BytesIO(data), limits=limits)
    return str(caught.value)


def tarred(files: Mapping[str, bytes | str], *, format: str = "pax") -> bytes:
    """A .tar.gz as the standard library makes it."""
    formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=formats[format]) as archive:
        for name, data in files.items():
            raw = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


def zip_of(
    files: Sequence[tuple[str, bytes | str]], *, mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip of these entries in order, the last with the given mode (type bits included), names as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number, (name, data) in enumerate(files):
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (mode if number == len(files) - 1 else stat.S_IFREG | 0o644) << 16
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(archive, "NameToInfo", {})  # it would warn about a name that is there twice
                archive.writestr(info, data)
    return buffer.getvalue()


def tar_of(
    files: Sequence[tuple[str | bytes, bytes | str]],
    *,
    kind: bytes = b"0",
    kind_of_first: bytes = b"0",
    damage: bool = False,
) -> bytes:
    """A .tar.gz made by hand: raw names, the first and the last entry with the given type letters."""
    blocks = b""
    for number, (name, data) in enumerate(files):
        raw_name = name.encode() if isinstance(name, str) else name
        raw = data.encode() if isinstance(data, str) else data
        letter = kind_of_first if number == 0 else kind if number == len(files) - 1 else b"0"
        header = bytearray(512)
        header[: len(raw_name)] = raw_name
        header[100:108], header[124:136] = b"0000644\0", b"%011o\0" % len(raw)
        header[156:157], header[257:265] = letter, b"ustar\x0000"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % (sum(header) + (7 if damage else 0))
        blocks += bytes(header) + raw + bytes(-len(raw) % 512)
    return gzip.compress(blocks + bytes(1024))


def encrypted_zip(files: Mapping[str, bytes | str]) -> bytes:
    """A zip whose entries are marked as encrypted."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    data = bytearray(buffer.getvalue())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(magic, place + 1)) >= 0:
            data[place + offset] |= 1
    return bytes(data)


def with_entry_count(data: bytes, entries: int) -> bytes:
    """The zip with another number of entries in its end record."""
    changed = bytearray(data)
    end = changed.rfind(b"PK\x05\x06")
    changed[end + 8 : end + 12] = struct.pack("<2H", entries, entries)
    return bytes(changed)
