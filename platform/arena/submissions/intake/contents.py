"""What files may hold: no pickles in any disguise, no archive inside the archive, everything readable to its end."""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import tempfile
from pathlib import PurePosixPath

from arena.submissions.intake.compression import packer
from arena.submissions.intake.limits import ArchiveLimits
from arena.submissions.intake.members import Member, chunks, refuse
from arena.submissions.intake.safetensors_files import check_safetensors, looks_like_safetensors
from arena.submissions.intake.zips import read_zip

_HEAD = 64 * 1024
_TORCH_SUFFIXES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_IMPORTING = {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}  # without one of these a pickle runs no code
_NPY = b"\x93NUMPY"
CONVERT = (
    "Convert it to safetensors, which holds tensors and no code:\n"
    "    from safetensors.torch import save_file\n"
    '    save_file(model.state_dict(), "weights.safetensors")'
)


def check_file(member: Member, limits: ArchiveLimits) -> str:
    """Reads the file to its end and refuses what it must not hold; its SHA-256, hexadecimal. Raises InputError."""
    head, digest = _read_through(member)
    _check_kind(member, head, limits)
    return digest


def _check_kind(member: Member, head: bytes, limits: ArchiveLimits) -> None:
    suffix = PurePosixPath(member.name).suffix.lower()
    if suffix == ".safetensors" or looks_like_safetensors(head):
        check_safetensors(member)
        return
    if head.startswith(_ZIP):
        _check_inner_zip(member, limits, torch=suffix in _TORCH_SUFFIXES or b"data.pkl" in head)
        return
    if suffix in _TORCH_SUFFIXES or _is_pickle(head) or _holds_objects(head):
        raise refuse("is a pickle, which can run code when it is loaded; it is not accepted.", where=member.name, help=CONVERT)
    packed_by = packer(head) or ("tar" if head[257:262] == b"ustar" else None)
    if packed_by:
        raise refuse(f"is a {packed_by} archive inside the archive.", where=member.name, help="Put its files in unpacked.")


def _read_through(member: Member) -> tuple[bytes, str]:
    """The member's first 64 KiB and its SHA-256, after reading all of it: a wrong check sum or length shows only at the end."""
    head, digest = b"", hashlib.sha256()
    for chunk in chunks(member):
        if not head:
            head = chunk[:_HEAD]
        digest.update(chunk)
    return head, digest.hexdigest()


def _is_pickle(head: bytes) -> bool:
    """Whether `head` begins a pickle: of protocol 2 or later by its header (torch's legacy format is several of them).

    Older ones, and newer ones without their header, are known only by reading them to their end: those that import something.
    """
    announced = len(head) >= 4 and head[0] == 0x80 and 2 <= head[1] <= 5
    operations, imports = 0, False
    try:
        for operation, _, _ in pickletools.genops(io.BytesIO(head)):
            operations += 1
            imports |= operation.name in _IMPORTING
            if announced and operations > 3:
                return True
    except Exception:  # pickletools raises whatever a malformed argument leads to; the bytes are not a pickle then
        return False
    return imports or (announced and operations >= 2)


def _holds_objects(head: bytes) -> bool:
    """Whether `head` begins a .npy array of Python objects, which is a pickle behind a header."""
    return head.startswith(_NPY) and re.search(rb"'descr':[^}]*\|?O[^}]*'fortran_order'", head[:_HEAD]) is not None


def _check_inner_zip(member: Member, limits: ArchiveLimits, *, torch: bool) -> None:
    """Refuses a zip inside the archive unless it is an .npz of plain arrays."""
    if torch:
        raise refuse(
            "is a torch pickle, which can run code when it is loaded; it is not accepted.", where=member.name, help=CONVERT
        )
    if not member.name.lower().endswith(".npz"):
        raise refuse("is a zip archive inside the archive.", where=member.name, help="Put its files in unpacked.")
    with tempfile.TemporaryFile() as inner:
        for chunk in chunks(member):
            inner.write(chunk)
        arrays = read_zip(inner, limits)
        unpacked = sum(array.size for array in arrays)
        if unpacked > min(limits.unpacked_bytes, max(limits.ratio_from, limits.ratio * member.size)):
            raise refuse("unpacks to more than is accepted.", where=member.name)
        for array in arrays:
            head, _ = _read_through(array)
            if not array.name.endswith(".npy") or not head.startswith(_NPY) or _holds_objects(head):
                raise refuse("holds something that is not a plain array.", where=member.name, help=CONVERT)
