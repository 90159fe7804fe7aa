"""Frames survive the trip bit for bit, and no bytes a peer can send do more than raise a WireError."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import torch
from hosts import SocketTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from evaluator.host.wire import ENVELOPE_BYTES, FrameTooLarge, Message, WireError, decode, encode, receive, send

Pair = tuple[SocketTransport, SocketTransport]


@pytest.fixture
def pair() -> Iterator[Pair]:
    a, b = socket.socketpair()
    with a, b:
        yield SocketTransport(a), SocketTransport(b)


@given(st.dictionaries(st.text(max_size=8).filter(lambda k: k != "op"), st.text(max_size=20), max_size=4), st.text(max_size=9))
def test_a_message_comes_back_as_it_was(fields: dict[str, str], op: str) -> None:
    x = torch.randn(2, 3)
    back = decode(encode(Message(op, fields, {"x": x})))
    assert (back.op, dict(back.fields)) == (op, fields)
    assert torch.equal(back.tensors["x"], x)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_are_a_wire_error_and_nothing_worse(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode(payload)


@settings(max_examples=300)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_frame_with_one_byte_changed_decodes_or_is_a_wire_error(position: int, value: int) -> None:
    payload = bytearray(encode(Message("logits", {"id": "1"}, {"logits": torch.ones(4, 3)})))
    payload[position % len(payload)] = value
    with contextlib.suppress(WireError):
        decode(payload)


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"__metadata__": {"op": 3}},
        {"__metadata__": ["op"]},
        [],
    ],
    ids=str,
)
def test_impossible_headers_are_a_wire_error(header: object) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(WireError):
        decode(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")


def test_a_header_longer_than_the_envelope_is_refused_before_it_is_parsed() -> None:
    payload = save({}, {"op": "x", "junk": "j" * (ENVELOPE_BYTES + 1)})
    with pytest.raises(WireError, match="header"):
        decode(payload)


def test_a_frame_that_announces_two_gigabytes_is_refused_unread(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(struct.pack("<Q", 2 << 30), timeout=1)
    with pytest.raises(FrameTooLarge, match="2147483648"):
        receive(ours, limit=1000, timeout=1)


def test_silence_is_a_timeout_and_a_closed_peer_an_end_of_file(pair: Pair) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError):
        receive(ours, limit=1000, timeout=0.05)
    theirs.end.close()
    with pytest.raises(EOFError):
        receive(ours, limit=1000, timeout=1)


def test_large_tensors_cross_both_ways_at_once(pair: Pair) -> None:
    ours, theirs = pair
    x = torch.randn(2_000_000)

    def echo() -> None:
        message = receive(theirs, limit=1 << 30, timeout=30)
        send(theirs, message, timeout=30)

    thread = threading.Thread(target=echo)
    thread.start()
    send(ours, Message("forward", {}, {"x": x}), timeout=30)
    assert torch.equal(receive(ours, limit=1 << 30, timeout=30).tensors["x"], x)
    thread.join()
