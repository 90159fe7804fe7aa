"""Reads an array submission (`.npy`, or a `.npz` of one array) as the bytes of a stranger: no pickle, nothing unbounded."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from evaluator.errors import SubmissionError
from evaluator.records.report import SubmissionReason

_HEADER_BYTES = 4096
_MAGIC_BYTES = 12
_SAVE = 'Save it with numpy.save("adversarial.npy", x_adv.astype("float32")).'


def read_array(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The float32 array at `path`, of exactly `shape` (examples first, in data order), its values unchecked.

    Raises SubmissionError (manifest, oversized, shape, dtype) in words.
    """
    if not path.is_file():
        raise _fault(SubmissionReason.MANIFEST, "is not in the submission.", path)
    with path.open("rb") as stream:
        if stream.read(4)[:2] == b"PK":
            return _zipped(path, shape)
        stream.seek(0)
        return _plain(stream, path.stat().st_size, path, shape)


def _zipped(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                what = f"holds {len(members)} arrays; it must hold one."
                raise _fault(SubmissionReason.SHAPE, what, path, "Save x_adv alone.")
            limit = _MAGIC_BYTES + _HEADER_BYTES + _bytes(shape)
            if members[0].file_size > limit:
                what = f"unpacks to {members[0].file_size} bytes, where {_bytes(shape)} bytes of values are right."
                raise _fault(SubmissionReason.OVERSIZED, what, path)
            with archive.open(members[0]) as member:
                content = member.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _fault(SubmissionReason.MANIFEST, f"is not a readable .npz file ({error}).", path) from error
    return _plain(io.BytesIO(content), len(content), path, shape)


def _plain(stream: BinaryIO, size: int, path: Path, shape: tuple[int, ...]) -> Tensor:
    found, fortran, dtype = _header(stream, path)
    if dtype.hasobject:
        raise _fault(SubmissionReason.DTYPE, "holds Python objects, which are never loaded.", path)
    if found != shape:
        what = f"has shape {found}; this challenge needs {shape}: every ranked example, in data order."
        raise _fault(SubmissionReason.SHAPE, what, path, "Rows that you did not attack hold the clean image.")
    if dtype != np.dtype("<f4"):
        raise _fault(SubmissionReason.DTYPE, f"holds {dtype}; it must hold float32 in [0, 1].", path)
    values = size - stream.tell()
    if values != _bytes(shape):
        raise _fault(SubmissionReason.SHAPE, f"has {values} bytes of values instead of {_bytes(shape)}: it is cut off.", path)
    array = np.frombuffer(bytearray(stream.read(values)), dtype="<f4")
    return torch.from_numpy(np.ascontiguousarray(array.reshape(shape, order="F" if fortran else "C")))


def _header(stream: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream, max_header_size=_HEADER_BYTES)
    except KeyError as error:
        raise _fault(SubmissionReason.MANIFEST, "is of a .npy version that float arrays do not need.", path) from error
    except (ValueError, EOFError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        reason = str(error).split("\n")[0][:200]
        raise _fault(SubmissionReason.MANIFEST, f"is not a .npy array ({reason}).", path) from error
    return shape, fortran, dtype


def _bytes(shape: tuple[int, ...]) -> int:
    return 4 * int(np.prod(shape, dtype=np.int64))


def _fault(reason: SubmissionReason, what: str, path: Path, help: str = _SAVE) -> SubmissionError:
    return SubmissionError(reason, what, where=path.name, help=help)
