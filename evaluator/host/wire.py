"""How the scorer and a host talk: length-prefixed frames, each one safetensors payload. No pickle anywhere.

A frame is 8 bytes of little-endian length and that many bytes of safetensors: named tensors plus string metadata. The
length is checked against what a right answer can need before a byte of it is read, so a lying peer costs nothing.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

LENGTH = struct.Struct("<Q")
ENVELOPE_BYTES = 16 * 1024  # room for the safetensors header and the metadata of one frame


class Transport(Protocol):
    """A duplex byte stream with deadlines; raises TimeoutError when one passes and EOFError when the peer is gone."""

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float) -> None: ...

    def receive(self, size: int, *, timeout: float) -> bytes | bytearray: ...


class WireError(Exception):
    """The bytes are not a frame that could be an answer."""


class FrameTooLarge(WireError):
    """The announced length exceeds the bound; nothing of it was read."""


@dataclass(frozen=True)
class Message:
    """One request or reply: an operation, string fields and named tensors."""

    op: str
    fields: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """The frame's payload."""
    return save({name: t.detach().contiguous() for name, t in message.tensors.items()}, {"op": message.op, **message.fields})


def decode(payload: bytes | bytearray) -> Message:
    """Parses a payload. Raises WireError for anything that is not safetensors with an `op`."""
    try:
        metadata = _metadata(payload)
        tensors = load(bytes(payload))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError, RuntimeError) as error:
        raise WireError(f"not a safetensors frame ({type(error).__name__})") from error
    op = metadata.pop("op", None)
    if op is None:
        raise WireError("a frame without an operation")
    return Message(op, metadata, tensors)


def _metadata(payload: bytes | bytearray) -> dict[str, str]:
    """The string metadata of a safetensors payload (its Rust reader does not hand it out for bytes)."""
    if len(payload) < LENGTH.size:
        raise WireError("a frame of fewer than 8 bytes")
    (size,) = LENGTH.unpack(payload[: LENGTH.size])
    if size > min(len(payload) - LENGTH.size, ENVELOPE_BYTES):
        raise WireError("a frame whose header is longer than allowed")
    table = json.loads(bytes(payload[LENGTH.size : LENGTH.size + size]))
    metadata = table.get("__metadata__", {}) if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WireError("a frame with malformed metadata")
    return metadata


def send(transport: Transport, message: Message, *, timeout: float) -> None:
    """Sends one frame, all of it within `timeout` seconds."""
    send_encoded(transport, encode(message), timeout=timeout)


def send_encoded(transport: Transport, payload: bytes, *, timeout: float) -> None:
    """Sends the frame of a payload that `encode` made, all of it within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    transport.send(LENGTH.pack(len(payload)), timeout=timeout)
    transport.send(payload, timeout=_left(deadline))


def receive(transport: Transport, *, limit: int, timeout: float) -> Message:
    """Receives one frame of at most `limit` payload bytes, all of it within `timeout` seconds.

    Raises FrameTooLarge, WireError, TimeoutError or EOFError.
    """
    deadline = time.monotonic() + timeout
    (size,) = LENGTH.unpack(transport.receive(LENGTH.size, timeout=timeout))
    if size > limit:
        raise FrameTooLarge(f"a frame of {size} bytes where at most {limit} can be right")
    return decode(transport.receive(size, timeout=_left(deadline)))


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
