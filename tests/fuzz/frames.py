"""Frames that a hostile peer may send: right ones, wrong in one or several places, drawn from a seeded generator.

A generator of our own beside hypothesis: a million frames have to be made in minutes, each again from its seed.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from evaluator.host.inspection import Inspection
from evaluator.host.wire import Message, encode

ROWS, CLASSES, SHAPE = 4, 3, (1, 7, 7)
_X = torch.rand(ROWS, *SHAPE, generator=torch.Generator().manual_seed(0))
_LOGITS = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(1))
# What a well-behaved peer of either side says.
RIGHT = tuple(
    encode(message)
    for message in (
        Message("ready"),
        Message("logits", {}, {"logits": _LOGITS}),
        Message("gradient", {}, {"gradient": _X}),
        Message("expired"),
        Message("failed", {"reason": "raised", "detail": "ValueError: no"}),
        Message("inspected", {"inspection": Inspection(cut=True, operations={"round": 2}).model_dump_json()}),
        Message("load"),
        Message("forward", {}, {"x": _X}),
        Message("forward", {"keep": "1 own"}, {"x": _X}),
        Message("vjp", {"keep": "1 own"}, {"cotangent": _LOGITS}),
        Message("inspect", {}, {"x": _X}),
        Message("result", {}, {"points": _X}),
    )
)
_DTYPES = ("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F8_E4M3", "F4", "F99", "", None, 7)
_SIZES = (0, 1, 3, 4, 7, 12, 48, -1, 2**31, 2**40, 2**62, 2**63, 2**64, 1e3, "4", None, True)
_TEXTS = ("", "\0", "NaN", "raised", "own", "9" * 400, "\ud800", "\u202e", "../..", "{}", '{"operations": {"round": 1e999}}')
_SPECIAL = (0, 0xFF, 0x7F, 0x80, 0x22, 0x5C, 0x7B)


def frame(rng: random.Random) -> bytes:
    """One payload. About one in ten is right as it stands, the others are damaged one to four times."""
    payload = rng.choice(RIGHT)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3, 4))):
        payload = rng.choice(_DAMAGES)(rng, payload)
    return payload


def announced(rng: random.Random, payload: bytes) -> bytes:
    """The frame on the wire: its length and the payload, now and then with a length that lies."""
    length = len(payload)
    if rng.random() < 0.1:
        length = rng.choice((0, 1, length - 1, length + 1, 1 << 31, 1 << 40, 2**64 - 1))
    return struct.pack("<Q", max(0, length)) + payload


def _byte(rng: random.Random, payload: bytes) -> bytes:
    if not payload:
        return payload
    changed = bytearray(payload)
    changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), *_SPECIAL))
    return bytes(changed)


def _cut(rng: random.Random, payload: bytes) -> bytes:
    return payload[: rng.randrange(len(payload) + 1)]


def _insert(rng: random.Random, payload: bytes) -> bytes:
    place = rng.randrange(len(payload) + 1)
    return payload[:place] + rng.randbytes(rng.choice((1, 8, 64))) + payload[place:]


def _splice(rng: random.Random, payload: bytes) -> bytes:
    other = rng.choice(RIGHT)
    return payload[: rng.randrange(len(payload) + 1)] + other[rng.randrange(len(other)) :]


def _length(rng: random.Random, payload: bytes) -> bytes:
    wrong = rng.choice((0, 1, len(payload), len(payload) - 8, len(payload) + 1, 1 << 14, 1 << 31, 2**63, 2**64 - 1))
    return struct.pack("<Q", max(0, wrong)) + payload[8:]


def _values(rng: random.Random, payload: bytes) -> bytes:
    """Numbers that are none: NaN, both infinities, a denormal, the largest."""
    odd = struct.pack("<f", rng.choice((float("nan"), float("inf"), -float("inf"), 1e-45, 3.4e38)))
    return payload[:-4] + odd if len(payload) > 64 else payload


def _header(rng: random.Random, payload: bytes) -> bytes:
    """A header that is JSON and means something else."""
    try:
        (size,) = struct.unpack_from("<Q", payload)
        table = json.loads(payload[8 : 8 + size])
    except (struct.error, ValueError, TypeError, OverflowError, RecursionError):
        return payload
    if not isinstance(table, dict):
        return payload
    names = [name for name, value in table.items() if isinstance(value, dict) and name != "__metadata__"]
    rng.choice(_HEADER_DAMAGES)(rng, table, names)
    text = json.dumps(table).encode("utf-8", "replace")
    if rng.random() < 0.05:
        text = b"[" * rng.choice((50, 5000)) + text
    return struct.pack("<Q", len(text)) + text + payload[8 + size :]


def _field(rng: random.Random, table: dict[str, Any], names: list[str]) -> None:
    fields = table.setdefault("__metadata__", {})
    if isinstance(fields, dict):
        fields[rng.choice((*fields, "op", "keep", "inspection", "reason", "backward", ""))] = rng.choice(
            (*_TEXTS, 3, None, [], {})
        )


def _tensor(rng: random.Random, table: dict[str, Any], names: list[str]) -> None:
    if not names:
        table["x"] = rng.choice(({}, [], 3, None))
        return
    tensor = table[rng.choice(names)]
    match rng.randrange(4):
        case 0:
            tensor["dtype"] = rng.choice(_DTYPES)
        case 1:
            tensor["shape"] = [rng.choice(_SIZES) for _ in range(rng.choice((0, 1, 2, 4, 40)))]
        case 2:
            tensor["data_offsets"] = [rng.choice(_SIZES) for _ in range(rng.choice((0, 1, 2, 2, 2, 3)))]
        case 3:
            tensor.pop(rng.choice(("dtype", "shape", "data_offsets")), None)


def _name(rng: random.Random, table: dict[str, Any], names: list[str]) -> None:
    if names:
        table[rng.choice(("x", "logits", "gradient", "cotangent", "points", *_TEXTS))] = table[names[0]]


_HEADER_DAMAGES: tuple[Callable[[random.Random, dict[str, Any], list[str]], None], ...] = (_field, _tensor, _tensor, _name)
_DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _byte, _byte, _cut, _insert, _splice, _length, _values, _header, _header, _header,
)  # fmt: skip


@dataclass
class Replay:
    """A transport whose peer has already said everything; what it is told is counted and forgotten."""

    said: bytes
    position: int = 0
    told: int = field(default=0, init=False)

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None:
        self.told += len(data)

    def receive(self, size: int, *, timeout: float) -> bytes:
        part = self.said[self.position : self.position + size]
        self.position += len(part)
        if len(part) < size:
            raise EOFError
        return part
