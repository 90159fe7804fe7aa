"""What the hostile hosts share: frames made by hand, and an honest host of which each case replaces a part."""

import json
import os
import struct
import sys
import time
from collections.abc import Callable, Mapping

CLASSES = 10
Tensor = tuple[str, list[int], bytes]


class Asked:
    """One question: its operation, its string fields and the shapes of its tensors."""

    def __init__(self, header: dict[str, object]) -> None:
        self.fields: dict[str, str] = header.pop("__metadata__", {})
        self.op = self.fields["op"]
        self.shapes = {name: entry["shape"] for name, entry in header.items()}
        self.rows = self.shapes["x"][0] if "x" in self.shapes else 0


def read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def question() -> Asked:
    (size,) = struct.unpack("<Q", read(8))
    payload = read(size)
    (length,) = struct.unpack("<Q", payload[:8])
    return Asked(json.loads(payload[8 : 8 + length]))


def say(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def raw(header: bytes, data: bytes = b"") -> bytes:
    """A frame with this header, whatever it is."""
    payload = struct.pack("<Q", len(header)) + header + data
    return struct.pack("<Q", len(payload)) + payload


def frame(op: str, tensors: Mapping[str, Tensor] | None = None, **fields: str) -> bytes:
    """A well-formed frame."""
    table: dict[str, object] = {"__metadata__": {"op": op, **fields}}
    data = b""
    for name, (dtype, shape, content) in (tensors or {}).items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return raw(json.dumps(table).encode(), data)


def floats(value: float, count: int) -> bytes:
    return struct.pack("<f", value) * count


def logits(rows: int, value: float = 1.0) -> bytes:
    return frame("logits", {"logits": ("F32", [rows, CLASSES], floats(value, rows * CLASSES))})


def gradient(shape: list[int], value: float = 0.0) -> bytes:
    count = 1
    for side in shape:
        count *= side
    return frame("gradient", {"gradient": ("F32", shape, floats(value, count))})


def serve(
    *,
    load: Callable[[Asked], bytes] = lambda asked: frame("ready"),
    forward: Callable[[Asked], bytes] = lambda asked: logits(asked.rows),
    vjp: Callable[[Asked, list[int]], bytes] = lambda asked, shape: gradient(shape),
) -> None:
    """Answers until the scorer has enough. vjp: also told the shape of the images that were last classified."""
    shape: list[int] = []
    while True:
        asked = question()
        match asked.op:
            case "load":
                say(load(asked))
            case "forward":
                shape = asked.shapes["x"]
                say(forward(asked))
            case "vjp":
                say(vjp(asked, shape))


def busy() -> bytes:
    """Computes for ever."""
    while True:
        pass


def asleep() -> bytes:
    time.sleep(10**6)
    return b""


def drip(data: bytes, seconds: float) -> bytes:
    """Says `data` evenly over `seconds`."""
    for byte in data:
        say(bytes([byte]))
        time.sleep(seconds / len(data))
    return b""


def question_of(rows: int) -> bytes:
    """An attack's honest question about images of zeros."""
    return frame("forward", {"x": ("F32", [rows, 1, 8, 8], floats(0.0, rows * 64))})


def serve_attack(*said: bytes) -> None:
    """An attack's host: loads, hears its task and says this."""
    question()
    say(frame("ready"))
    question()
    for data in said:
        say(data)
