"""The whole intake: what an accepted archive is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from arena.accounts.names import check_visible
from arena.submissions.intake.archives import Contents, opened, opened_folder, sha256
from arena.submissions.intake.contents import check_file
from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import read_all, refuse
from arena.submissions.intake.safetensors_files import TensorHeader, read_header
from evaluator.manifests.spec import MANIFEST_BYTES, AttackManifest, DefenseManifest, parse_toml


@dataclass(frozen=True)
class Inspection:
    """An archive that passed. manifest: validated, as JSON. digest: SHA-256 of the archive; size: its bytes.

    contents: SHA-256 of its files' names and contents alone, the same for the same files however they are packed.
    tensors: what the weights file of a weights-only defense says it holds; None for other entries.
    """

    kind: Literal["defense", "attack"]
    name: str
    manifest: dict[str, Any]
    digest: str
    contents: str
    size: int
    suffix: str
    files: tuple[str, ...]
    tensors: Mapping[str, TensorHeader] | None = None


def inspect(file: IO[bytes], *, limits: ArchiveLimits | None = None) -> Inspection:
    """Checks an archive without unpacking it. Raises InputError saying what is wrong, where, and what to do."""
    with opened(file, limits := limits or ArchiveLimits.from_settings()) as contents:
        found = _inspected(contents, limits)
    return replace(found, digest=sha256(file), size=file.seek(0, 2), suffix=contents.suffix)


def inspect_folder(folder: Path, *, limits: ArchiveLimits) -> Inspection:
    """The same checks on a folder, before it is packed or evaluated where it lies; it has no digest, size or suffix."""
    return _inspected(opened_folder(folder, limits), limits)


def _inspected(contents: Contents, limits: ArchiveLimits) -> Inspection:
    manifest = _read_manifest(contents)
    if manifest.format == "onnx":
        raise refuse(
            'has format = "onnx", which is not run by this version.',
            where=contents.manifest,
            help='Submit the weights as format = "safetensors" or wrap the model as format = "python".',
        )
    check_visible(manifest.name, what="The entry's name", where=contents.manifest)
    for name in _named_files(manifest):
        if contents.file(name) is None:
            raise refuse(
                f'names "{name}", which is not in the archive.', where=contents.manifest, help="Add it or mend its name."
            )
    files = [member for member in contents.members if not member.directory]
    digests = {member.name: check_file(member, limits) for member in files}
    weights = contents.file(_weights(manifest)) if isinstance(manifest, DefenseManifest) else None
    return Inspection(
        kind="defense" if isinstance(manifest, DefenseManifest) else "attack",
        name=manifest.name,
        manifest=manifest.model_dump(mode="json", exclude_none=True),
        digest="",
        contents=_of_files(digests),
        size=0,
        suffix="",
        files=tuple(sorted(member.name for member in files)),
        tensors=None if weights is None else read_header(weights),
    )


def _weights(manifest: DefenseManifest) -> str:
    """The name of the file that must be safetensors whatever it is called; empty for a defense in Python."""
    return str(PurePosixPath(manifest.weights)) if manifest.format == "safetensors" and manifest.weights else ""


def _of_files(digests: dict[str, str]) -> str:
    """One digest of files, given name -> SHA-256. No name holds the zero byte that ends it here."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _read_manifest(contents: Contents) -> DefenseManifest | AttackManifest:
    member = contents.file(contents.manifest)
    if member is None or member.size > MANIFEST_BYTES:
        raise refuse(f"is larger than {MANIFEST_BYTES // 1024} KiB.", where=contents.manifest, help="Keep it to its few lines.")
    data = read_all(member)
    if contents.manifest == "defense.toml":
        return parse_toml(data, DefenseManifest, where=contents.manifest)
    return parse_toml(data, AttackManifest, where=contents.manifest)


def _named_files(manifest: DefenseManifest | AttackManifest) -> list[str]:
    """Files that the manifest says are there, as plain names."""
    if isinstance(manifest, DefenseManifest):
        named = [manifest.entry, manifest.weights, manifest.bpda]
    else:
        named = [manifest.entry, manifest.array]
    return [str(PurePosixPath(name)) for name in named if name is not None]
