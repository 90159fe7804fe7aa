"""One bit per example, packed eight to a byte: how verdicts are stored and combined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]


def pack(bits: Bits | Sequence[int] | Sequence[bool]) -> bytes:
    """(n,) bool as ceil(n / 8) bytes, the first example in the highest bit."""
    return np.packbits(np.asarray(bits, dtype=bool)).tobytes()


def unpack(packed: bytes, examples: int) -> Bits:
    """What `pack` packed. Raises ValueError when the length does not fit."""
    if len(packed) != (examples + 7) // 8:
        raise ValueError(f"{len(packed)} bytes cannot hold the bits of {examples} examples")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=examples).astype(bool)


def packed_survivors(robust: bytes, breaks: Iterable[bytes]) -> bytes:
    """Packed bits that were set before, less what any attack broke; the padding stays zero.

    The worst case over a row of the matrix: it can only fall.
    """
    left = np.frombuffer(robust, dtype=np.uint8).copy()
    for broken in breaks:
        left &= ~np.frombuffer(broken, dtype=np.uint8)
    return left.tobytes()


def packed_union(one: bytes, other: bytes) -> bytes:
    """Packed bits that are set in either, of the same length."""
    return bytes(first | second for first, second in zip(one, other, strict=True))


def overlap_of(one: bytes, other: bytes) -> bytes:
    """Packed bits that are set in both, of the same length."""
    return bytes(first & second for first, second in zip(one, other, strict=True))


def overlap(one: bytes, other: bytes) -> bool:
    """Whether some example's bit is set in both."""
    return int.from_bytes(one) & int.from_bytes(other) != 0


def count(packed: bytes) -> int:
    """How many bits are set."""
    return int.from_bytes(packed).bit_count()
