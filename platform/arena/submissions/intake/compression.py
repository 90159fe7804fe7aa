"""What an archive is packed with, and the tar inside it: unpacked to a bounded file, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable
from typing import IO

from arena.submissions.intake.limits import MIB, ArchiveLimits
from arena.submissions.intake.members import Readable, refuse

PACKERS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Rar!\x1a\x07": "rar",
}
SUFFIXES = {"gzip": ".tar.gz", "bzip2": ".tar.bz2", "xz": ".tar.xz"}  # those that are unpacked here
_HEADER = 1024
_DICTIONARY = 72 * MIB  # what `xz -9` asks of the unpacking process


class _Xz:
    """A reader of one .xz stream that refuses what asks for more memory than `xz -9` does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._stream = file, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)

    def read(self, size: int = MIB, /) -> bytes:
        while not self._stream.eof:
            data = self._file.read(MIB) if self._stream.needs_input else b""
            if self._stream.needs_input and not data:
                raise EOFError("its end is missing")
            if piece := self._stream.decompress(data, size):
                return piece
        if self._stream.unused_data.strip(b"\0") or self._file.read(1):
            raise EOFError("bytes follow its end")
        return b""

    def close(self) -> None:
        """Nothing to do: the file belongs to the caller."""


_READERS: dict[str, Callable[[IO[bytes]], Readable]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": lambda file: bz2.BZ2File(file),
    "xz": _Xz,
}


def packer(head: bytes) -> str | None:
    """The program that wrote a file that begins with `head`, None for one that is not compressed."""
    return next((name for magic, name in PACKERS.items() if head.startswith(magic)), None)


def inflate(file: IO[bytes], name: str, limits: ArchiveLimits) -> IO[bytes]:
    """The tar inside a compressed one as an anonymous temporary file, never larger than the limits allow.

    name: one of SUFFIXES. Raises InputError.
    """
    packed = file.seek(0, 2)
    ceiling = limits.unpacked_bytes + _HEADER * limits.listed + MIB
    if packed * limits.ratio > limits.ratio_from:
        ceiling = min(ceiling, packed * limits.ratio)
    else:
        ceiling = min(ceiling, limits.ratio_from)
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the members do
    file.seek(0)
    stream, written = _READERS[name](file), 0
    try:
        while chunk := stream.read(MIB):
            written += len(chunk)
            if written > ceiling:
                raise refuse(f"unpacks to more than {ceiling // MIB} MiB.", help="Submit smaller weights.")
            plain.write(chunk)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        plain.close()
        help = "Upload it again; it may have been cut short."
        raise refuse(f"cannot be read as {SUFFIXES[name]}: {error}.", help=help) from error
    except BaseException:
        plain.close()
        raise
    finally:
        stream.close()
    return plain
