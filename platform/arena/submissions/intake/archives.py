"""Opening an archive and checking its structure: the same for the upload and for the worker that unpacks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from arena.submissions.intake.entries import Entry, refuse
from arena.submissions.intake.limits import MIB, Limits
from arena.submissions.intake.names import check_distinct, check_name
from arena.submissions.intake.tars import inflate, read_tar
from arena.submissions.intake.zips import read_zip

MANIFESTS = {"defense.toml": "defense", "attack.toml": "attack"}


@dataclass(frozen=True)
class Contents:
    """An archive's entries, named relative to the folder that holds the manifest; `manifest` is its file name."""

    entries: tuple[Entry, ...]
    manifest: str
    suffix: str

    def file(self, name: str) -> Entry | None:
        """The file of that name, None when there is none."""
        return next((entry for entry in self.entries if entry.name == name and not entry.directory), None)


def sha256(file: IO[bytes]) -> str:
    """SHA-256 of the whole file, hexadecimal."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(MIB):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def opened(file: IO[bytes], limits: Limits) -> Iterator[Contents]:
    """The contents of a .zip or .tar.gz, recognised by its bytes; readable inside the `with` block only.

    Raises InputError for a wrong size, structure or name, and when there is not exactly one manifest.
    """
    packed = file.seek(0, 2)
    if packed > limits.archive_bytes:
        raise refuse(
            f"is {packed / MIB:.0f} MiB large; at most {limits.archive_bytes // MIB} MiB are accepted.",
            help="Submit smaller weights, for instance in half precision.",
        )
    file.seek(0)
    magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        with inflate(file, limits) as plain:
            yield _checked(read_tar(plain, limits), packed, limits, suffix=".tar.gz")
    elif magic[:2] == b"PK":
        yield _checked(read_zip(file, limits), packed, limits, suffix=".zip")
    else:
        raise refuse("is neither a .zip nor a .tar.gz.", help="Pack the folder with your defense.toml as one of the two.")


def _checked(entries: list[Entry], packed: int, limits: Limits, *, suffix: str) -> Contents:
    unpacked = sum(entry.size for entry in entries)
    if unpacked > limits.unpacked_bytes:
        raise refuse(f"unpacks to {unpacked // MIB} MiB; at most {limits.unpacked_bytes // MIB} MiB are accepted.")
    if unpacked > limits.ratio_from and unpacked > limits.ratio * packed:
        raise refuse(f"unpacks to {unpacked // packed} times its size; at most {limits.ratio} times is accepted.")
    for entry in entries:
        check_name(entry.name, limits)
    check_distinct(entries)
    kept = [entry for entry in entries if not _is_litter(entry.name)]
    root = _root(kept)
    inside = tuple(entry.renamed(entry.name.removeprefix(root)) for entry in kept if f"{entry.name}/" != root)
    return Contents(entries=inside, manifest=_manifest(inside), suffix=suffix)


def _is_litter(name: str) -> bool:
    """What a Mac adds to archives of its own accord."""
    return name.split("/")[0] == "__MACOSX" or name.split("/")[-1] == ".DS_Store"


def _root(entries: list[Entry]) -> str:
    """The one folder that holds everything, with its slash; empty when the manifest is at the top."""
    if any(entry.name in MANIFESTS for entry in entries):
        return ""
    tops = {entry.name.split("/")[0] for entry in entries}
    alone = len(tops) == 1 and all("/" in entry.name or entry.directory for entry in entries)
    return f"{tops.pop()}/" if alone else ""


def _manifest(entries: tuple[Entry, ...]) -> str:
    found = [entry.name for entry in entries if entry.name in MANIFESTS and not entry.directory]
    if len(found) == 2:
        raise refuse("has a defense.toml and an attack.toml.", help="Submit a defense or an attack, one at a time.")
    if not found:
        names = ", ".join(sorted(entry.name for entry in entries)[:5]) or "nothing"
        raise refuse(
            f"has no defense.toml at its top, only {names}.",
            help="Put defense.toml beside your files and pack them, or the one folder that holds them.",
        )
    return found[0]
