"""The stored form of verified adversarial inputs: a compressed .npz that holds, for each, the smallest exact description.

Torch-free and pickle-free. `evaluator.judging.compaction` decides which description is enough.

| array | what |
|---|---|
| ids | (m,) int64, positions in the split, each once |
| form | (m,) uint8: 0 steps, 1 halves, 2 points |
| scale, steps | (a,) float64 and (a, *point) int8: point = start + steps * scale / 127 |
| halves | (b, *point) float16: point = start + halves |
| points | (c, *point) float32: the point itself |

`start` is the threat's point of no perturbation (for Lp balls the clean image). Each form's rows are in the order of `ids`.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.errors import InputError

STEPS, HALVES, POINTS = 0, 1, 2
LEVELS = 127
_DTYPES = {"ids": "<i8", "form": "|u1", "scale": "<f8", "steps": "|i1", "halves": "<f2", "points": "<f4"}
_EXPANSION = 1100  # deflate's largest
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError, ValueError, KeyError, NotImplementedError, RuntimeError,
    OSError, EOFError,
)  # fmt: skip


@dataclass(frozen=True)
class AdversarialArchive:
    """The arrays of the table above."""

    ids: NDArray[np.int64]
    form: NDArray[np.uint8]
    scale: NDArray[np.float64]
    steps: NDArray[np.int8]
    halves: NDArray[np.float16]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def to_bytes(self) -> bytes:
        """The .npz; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes, *, limit: int = 1 << 32) -> AdversarialArchive:
        """Reads what `to_bytes` wrote. limit: of its unpacked bytes. Raises InputError for anything else."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > min(limit, _EXPANSION * len(data) + 4096):
                raise ValueError(f"it unpacks to {size} bytes")
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                arrays: dict[str, NDArray[Any]] = {name: stored[name] for name in _DTYPES}
            if any(array.dtype != np.dtype(_DTYPES[name]) for name, array in arrays.items()):
                raise ValueError("an array has another type")
            found = AdversarialArchive(**arrays)
            counts = np.bincount(found.form, minlength=3).tolist()
            if (
                len(np.unique(found.ids)) != len(found.form)
                or found.ids.ndim != 1
                or not found.form.ndim == found.scale.ndim == 1
            ):
                raise ValueError("its ids and forms do not fit")
            if counts != [len(found.steps), len(found.halves), len(found.points)] or len(found.scale) != counts[STEPS]:
                raise ValueError("its forms and rows do not fit")
            if not found.steps.shape[1:] == found.halves.shape[1:] == found.points.shape[1:]:
                raise ValueError("its points have different shapes")
        except _UNREADABLE as error:
            help = "Only what an evaluation stored can be replayed."
            raise InputError(f"is no archive of adversarial inputs ({error}).", where="adversarial", help=help) from error
        return found


def join_archives(archives: Sequence[bytes]) -> bytes:
    """One archive of several whose ids are disjoint, in the given order (the shards of one cell)."""
    parts = [AdversarialArchive.from_bytes(data) for data in archives]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _DTYPES}
    data = AdversarialArchive(**joined).to_bytes()
    AdversarialArchive.from_bytes(data)
    return data
