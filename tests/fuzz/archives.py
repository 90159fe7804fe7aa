"""Archives that a hostile uploader may send, drawn from a seeded generator: right ones, damaged in one or several places."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from collections.abc import Callable

import numpy as np

from tests.web.backend_support import MANIFEST, safetensors, zipped
from tests.web.intake_support import tar_of, tarred, zip_of

_WEIGHTS: dict[str, bytes | str] = {"defense.toml": MANIFEST, "weights.safetensors": safetensors()}
_PYTHON = 'name = "Code"\nformat = "python"\nentry = "defense.py"\n'
_ARRAY = 'name = "Array"\nformat = "array"\narray = "adversarial.npz"\n'
_NAMES = (
    "../x", "/etc/passwd", "a/../../b", "a\\b", "", ".", "a/", "defense.toml", "DEFENSE.TOML", "\u202ex", "x" * 300, "a:b", "é",
    "a/" * 20 + "f",
)  # fmt: skip
_HEADERS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x07", b"\x93NUMPY", b"\x1f\x8b", b"ustar", b"\x80\x04")
_TYPES = (b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"L", b"S", b"g", b"x", b"\0", b"\xff")


def npy(dtype: str = "<f4", shape: tuple[int, ...] = (2, 3)) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape, dtype=dtype))
    return stream.getvalue()


def npz(**arrays: bytes) -> bytes:
    return zipped({f"{name}.npy": data for name, data in arrays.items()})


RIGHT: tuple[bytes, ...] = (
    zipped(_WEIGHTS),
    tarred(_WEIGHTS),
    tarred(_WEIGHTS, format="gnu"),
    zipped({"defense.toml": _PYTHON, "defense.py": "def load(directory): ...\n"}),
    zipped({"attack.toml": _ARRAY, "adversarial.npz": npz(x_adv=npy())}),
    tarred({"attack.toml": _ARRAY, "adversarial.npz": npz(x_adv=npy())}),
)
MANIFESTS = (MANIFEST, _PYTHON, _ARRAY)


def archive(rng: random.Random) -> bytes:
    """One upload; about one in ten is right as it stands."""
    data = rng.choice((*RIGHT, _odd_zip(rng), _odd_tar(rng)))
    packed = data[:2] == b"\x1f\x8b"
    # Damage behind the compression reaches the tar's own headers; damage to gzip itself seldom gets past its check sum.
    if packed and rng.random() < 0.8:
        return gzip.compress(damaged(rng, gzip.decompress(data)), 1, mtime=0)
    return damaged(rng, data)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """`data` with up to four changes."""
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 4))):
        data = rng.choice(_DAMAGES)(rng, data)
    return data


def manifest(rng: random.Random) -> bytes:
    """TOML, more or less."""
    text = rng.choice(MANIFESTS).encode()
    extra = (
        b"name = 3\n", b"x = [" + b"[" * rng.choice((1, 100, 5000)), b"\xff\xfe", b"votes = 99999999999999999999\n",
        b"[certificate]\nmethod = 'ibp'\n", b'entry = "../../etc/passwd"\n', b"a.b.c.d = 1\n", b"e = 1e999\n",
        b"t = 1979-05-27T07:32:00Z\n", b'weights = ""\n', b"\0", b'name = "' + b"x" * 70_000 + b'"\n',
        b"z = {a = {b = {c = 1}}}\n", b"\xed\xa0\x80",
    )  # fmt: skip
    for _ in range(rng.randrange(3)):
        text += rng.choice(extra)
    return damaged(rng, text)


def weights(rng: random.Random) -> bytes:
    """A safetensors file, more or less."""
    names = ("weight", "bias", "__metadata__", "x" * 100, "\ud800", "")
    table = {rng.choice(names): _tensor(rng) for _ in range(rng.randrange(4))}
    header = rng.choice((json.dumps(table).encode(), b"[" * 5000, b"{" * 5000, b'{"a":1,"a":1}', b"NaN", b"{}"))
    return damaged(rng, rng.choice((safetensors(), struct.pack("<Q", len(header)) + header + bytes(8))))


def _tensor(rng: random.Random) -> object:
    """What a header may say about one tensor."""
    sizes = (0, 1, 2, 8, -1, 2**31, 2**48, 2**63, 1.5, "2", None, True)
    told = {
        "dtype": rng.choice(("F32", "BF16", "F4", "", None, 3, [])),
        "shape": [rng.choice(sizes) for _ in range(rng.randrange(4))],
        "data_offsets": [rng.choice(sizes) for _ in range(rng.choice((1, 2, 2, 2, 3)))],
    }
    return rng.choice((told, told, [], None, 3, {}, "text"))


def _odd_zip(rng: random.Random) -> bytes:
    files: list[tuple[str, bytes | str]] = [("defense.toml", manifest(rng)), ("weights.safetensors", weights(rng))]
    for _ in range(rng.randrange(3)):
        files.append((rng.choice(_NAMES[:4] + _NAMES[5:]), rng.choice((b"", b"x", npz(a=npy()), npy("|O", (1,)), RIGHT[0]))))
    return zip_of(files, mode=rng.choice((0o100644, 0o120777, 0o040755, 0o020666, 0)), method=rng.choice((0, 8)))


def _odd_tar(rng: random.Random) -> bytes:
    files: list[tuple[str | bytes, bytes | str]] = [("defense.toml", manifest(rng)), ("weights.safetensors", weights(rng))]
    for _ in range(rng.randrange(3)):
        files.append((rng.choice(_NAMES)[:99], rng.choice((b"", b"x", npz(a=npy())))))
    return tar_of(files, kind=rng.choice(_TYPES), kind_of_first=rng.choice((b"0", *_TYPES)), damage=rng.random() < 0.1)


def _byte(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), 0, 0xFF, 0x7F, 0x80))
    return bytes(changed)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice((rng.randbytes(rng.choice((1, 16, 512))), rng.choice(_HEADERS), bytes(512))) + data[place:]


def _number(rng: random.Random, data: bytes) -> bytes:
    """A 16- or 32-bit field near one of the formats' marks gets an unlikely value."""
    places = [place for mark in _HEADERS for place in (data.find(mark), data.rfind(mark)) if place >= 0]
    if not places:
        return _byte(rng, data)
    place = rng.choice(places) + rng.randrange(2, 46)
    width, value = rng.choice(((2, "<H"), (4, "<I")))
    odd = rng.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data), rng.randrange(1 << 16))) & ((1 << 8 * width) - 1)
    return data[:place] + struct.pack(value, odd) + data[place + width :]


def _tail(rng: random.Random, data: bytes) -> bytes:
    """Two archives in one file, or one behind something else."""
    other = rng.choice(RIGHT)
    return rng.choice((data + other, other + data, data + bytes(rng.randrange(600)), b"MZ" + data))


_DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (_byte, _byte, _cut, _insert, _number, _number, _number, _tail)
