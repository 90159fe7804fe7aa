"""What the builders of hostile uploads share: an honest submission, and archives put together by hand."""

import gzip
import io
import json
import stat
import struct
import zipfile
from collections.abc import Mapping, Sequence

WEIGHTS_TOML = 'name = "Hostile"\nformat = "safetensors"\narchitecture = "mnist-cnn"\nweights = "weights.safetensors"\n'
CODE_TOML = 'name = "Hostile"\nformat = "python"\nentry = "defense.py"\n'
ONNX_TOML = 'name = "Hostile"\nformat = "onnx"\nweights = "model.onnx"\n'
CODE = {"defense.toml": CODE_TOML, "defense.py": "def load(directory): ...\n"}
File = tuple[str, bytes | str]


def zipped(files: Mapping[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip as the standard library makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_with(last: File, *, mode: int = stat.S_IFREG | 0o644) -> bytes:
    """An honest zip and one more entry of this name, content and mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CODE.items():
            archive.writestr(name, data)
        info = zipfile.ZipInfo(last[0])
        info.external_attr = mode << 16
        archive.NameToInfo.clear()  # or it would warn about a name that is there twice
        archive.writestr(info, last[1])
    return buffer.getvalue()


def tarred(files: Sequence[tuple[bytes, bytes | str, bytes]]) -> bytes:
    """A .tar.gz of an honest submission and these: raw name, content and type letter; of a link the content is its target."""
    blocks = b"".join(_member(name.encode(), data.encode(), b"0") for name, data in CODE.items())
    for name, data, kind in files:
        raw = data.encode() if isinstance(data, str) else data
        blocks += _member(name, b"" if kind in b"12" else raw, kind, link=raw if kind in b"12" else b"")
    return gzip.compress(blocks + bytes(1024))


def _member(name: bytes, data: bytes, kind: bytes, *, link: bytes = b"") -> bytes:
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108], header[124:136] = b"0000644\0", b"%011o\0" % len(data)
    header[156:157], header[157 : 157 + len(link)], header[257:265] = kind, link, b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def safetensors(header: bytes | Mapping[str, object], data: bytes = b"") -> bytes:
    """A submission whose weights have this header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return zipped({"defense.toml": WEIGHTS_TOML, "weights.safetensors": struct.pack("<Q", len(raw)) + raw + data})


def tensor(shape: Sequence[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def field(number: int, value: bytes | str) -> bytes:
    """One field of a protocol buffer, as ONNX files are made of: a number below 16 and bytes of any length."""
    raw = value.encode() if isinstance(value, str) else value
    size, length = len(raw), b""
    while size > 127:
        size, length = size >> 7, length + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + length + bytes([size]) + raw


class Command:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch hostile-was-here",)
