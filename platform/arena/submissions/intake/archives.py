"""Opening an archive and checking its structure: the same for the upload and for the worker that unpacks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from arena.submissions.intake.compression import SUFFIXES, inflate, packer
from arena.submissions.intake.limits import MIB, ArchiveLimits
from arena.submissions.intake.members import Member, refuse, shown
from arena.submissions.intake.names import check_distinct, check_name, plain
from arena.submissions.intake.tars import is_tar, read_tar
from arena.submissions.intake.zips import read_zip
from evaluator.errors import InputError
from evaluator.folders import is_litter, submission_files

MANIFESTS = {"defense.toml": "defense", "attack.toml": "attack"}
_HEAD = 512


@dataclass(frozen=True)
class Contents:
    """An archive's members, named relative to the folder that holds the manifest; `manifest` is its file name."""

    members: tuple[Member, ...]
    manifest: str
    suffix: str

    def file(self, name: str) -> Member | None:
        """The file of that name, None when there is none."""
        return next((member for member in self.members if member.name == name and not member.directory), None)


def sha256(file: IO[bytes]) -> str:
    """SHA-256 of the whole file, hexadecimal."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(MIB):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def opened(file: IO[bytes], limits: ArchiveLimits) -> Iterator[Contents]:
    """The contents of a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, known by its bytes; readable inside the `with` block only.

    Raises InputError for a wrong size, structure or name, and when there is not exactly one manifest.
    """
    packed = file.seek(0, 2)
    if packed > limits.archive_bytes:
        raise refuse(
            f"is {packed / MIB:.0f} MiB large; at most {limits.archive_bytes // MIB} MiB are accepted.",
            help="Submit smaller weights, for instance in half precision.",
        )
    file.seek(0)
    head = file.read(_HEAD)
    found = packer(head)
    if found in SUFFIXES:
        with inflate(file, found, limits) as plain_tar:
            yield _checked(read_tar(plain_tar, limits), packed, limits, suffix=SUFFIXES[found])
    elif head.startswith(b"PK"):
        yield _checked(read_zip(file, limits), packed, limits, suffix=".zip")
    elif is_tar(head):
        yield _checked(read_tar(file, limits), packed, limits, suffix=".tar")
    else:
        kind = "empty" if packed == 0 else f"packed with {found}" if found else "neither a .zip nor a .tar.gz"
        raise refuse(f"is {kind}.", help="Pack the folder with your defense.toml as a .zip or a .tar.gz.")


def opened_folder(folder: Path, limits: ArchiveLimits) -> Contents:
    """The contents that an archive of this folder would have. Raises InputError."""
    members = [
        Member(name=name, size=path.stat().st_size, directory=False, open=partial(_reader, path))
        for name, path in submission_files(folder)
    ]
    return _checked(members, None, limits, suffix="")


def _reader(path: Path) -> IO[bytes]:
    return path.open("rb")


def _checked(members: list[Member], packed: int | None, limits: ArchiveLimits, *, suffix: str) -> Contents:
    """packed: the archive's bytes, None for a folder, which hides nothing behind compression."""
    kept = [member.renamed(name) for member in members if not is_litter(name := plain(member.name))]
    if len(kept) > limits.members:
        raise refuse(f"has {len(kept)} entries; at most {limits.members} are accepted.")
    unpacked = sum(member.size for member in kept)
    if unpacked > limits.unpacked_bytes:
        raise refuse(f"unpacks to {unpacked // MIB} MiB; at most {limits.unpacked_bytes // MIB} MiB are accepted.")
    if packed is not None and unpacked > limits.ratio_from and unpacked > limits.ratio * packed:
        raise refuse(f"unpacks to {unpacked // packed} times its size; at most {limits.ratio} times is accepted.")
    for member in kept:
        check_name(member.name, limits)
    check_distinct(kept)
    root = _root(kept)
    inside = tuple(
        member.renamed(_as_read(member.name.removeprefix(root))) for member in kept if not root.startswith(f"{member.name}/")
    )
    return Contents(members=inside, manifest=_manifest(inside), suffix=suffix)


def _as_read(name: str) -> str:
    """A manifest's name as it is read, where some systems would find it under any case: Defense.toml."""
    return name.casefold() if name.casefold() in MANIFESTS else name


def _root(members: list[Member]) -> str:
    """The folder that holds everything, with its slash, when there is one around the manifest; empty when it is at the top."""
    root = ""
    while True:
        names = [member.name.removeprefix(root) for member in members if not root.startswith(f"{member.name}/")]
        if any(name.casefold() in MANIFESTS for name in names):
            return root
        tops = {name.split("/")[0] for name in names}
        if len(tops) != 1 or not any("/" in name for name in names):
            return root
        root += f"{tops.pop()}/"


def _manifest(members: tuple[Member, ...]) -> str:
    files = [member.name for member in members if not member.directory]
    found = [name for name in files if name in MANIFESTS]
    if len(found) == 2:
        raise refuse("has a defense.toml and an attack.toml.", help="Submit a defense or an attack, one at a time.")
    if not found:
        raise _no_manifest(files)
    return found[0]


def _no_manifest(files: list[str]) -> InputError:
    """The error for files without a manifest, which may have one under another name or in another place."""
    names = ", ".join(shown(name) for name in sorted(files)[:5]) or "nothing"
    for name in sorted(files):
        last = name.rsplit("/", 1)[-1].casefold()
        if meant := next((manifest for manifest in MANIFESTS if last in (f"{manifest}.txt", f"{manifest}.toml")), None):
            help = f"Rename it to {meant}; Windows hides file name extensions by default."
            return refuse(f"has no {meant}, but a file of nearly that name.", where=name, help=help)
        if last in MANIFESTS:
            return refuse(
                f"has no {last} at its top, only {names}.", help=f"Pack the folder of {shown(name)}, and nothing beside it."
            )
    return refuse(
        f"has no defense.toml at its top, only {names}.",
        help="Put defense.toml beside your files and pack them, or the one folder that holds them.",
    )
