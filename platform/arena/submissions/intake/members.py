"""What zip and tar readers agree on: a list of members that can be read, nothing unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from arena.submissions.intake.limits import MIB
from evaluator.errors import InputError


class Readable(Protocol):
    """The bytes of one member, read once from the start."""

    def read(self, size: int = ..., /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive. name: as the archive has it, folders without the final slash; size: unpacked."""

    name: str
    size: int
    directory: bool
    open: Callable[[], Readable]

    def renamed(self, name: str) -> Member:
        return replace(self, name=name)


def shown(name: str) -> str:
    """A name from an archive, fit for a message."""
    text = name.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse(
    what: str, *, where: str = "the archive", help: str = "Pack the folder again, with regular files only."
) -> InputError:
    """The error for an archive that is not accepted."""
    return InputError(what, where=shown(where), help=help)


def chunks(member: Member) -> Iterator[bytes]:
    """The member's bytes in pieces of at most 1 MiB.

    Raises InputError when they cannot be read, fail their check sum, or are not `member.size` many.
    """
    read = 0
    try:
        stream = member.open()
        try:
            while chunk := stream.read(MIB):
                read += len(chunk)
                if read > member.size:
                    break
                yield chunk
        finally:
            stream.close()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise refuse(f"cannot be read: {error}.", where=member.name, help="Pack the folder again.") from error
    if read != member.size:
        raise refuse("does not have the size that the archive gives for it.", where=member.name)


def read_all(member: Member) -> bytes:
    """All bytes of a small member. Raises InputError."""
    return b"".join(chunks(member))
