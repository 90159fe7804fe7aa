"""Checking a safetensors file by its header alone (https://huggingface.co/docs/safetensors): no tensor is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from arena.submissions.intake.members import Member, refuse

HEADER_BYTES = 4 * 1024 * 1024
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_HELP = 'Save it with safetensors.torch.save_file(model.state_dict(), "weights.safetensors").'


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that starts with `head` claims to be safetensors: a small length, then a JSON object."""
    return len(head) > 8 and int.from_bytes(head[:8], "little") <= HEADER_BYTES and head[8:9] == b"{"


@dataclass(frozen=True)
class TensorHeader:
    """What a safetensors file says of one tensor: its type as the format names it, such as F32, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def check_safetensors(member: Member) -> None:
    """Raises InputError when the member is not a well-formed safetensors file."""
    read_header(member)


def read_header(member: Member) -> dict[str, TensorHeader]:
    """What the file says of its tensors, by name. Raises InputError when it is not a well-formed safetensors file."""
    stream = member.open()
    try:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(HEADER_BYTES, member.size - 8):
            raise refuse("is not a safetensors file.", where=member.name, help=_HELP)
        raw = stream.read(length)
    finally:
        stream.close()
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise refuse("is not a safetensors file: its header is not JSON.", where=member.name, help=_HELP) from error
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise refuse("is not a safetensors file: its header is not an object.", where=member.name, help=_HELP)
    tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    position = 0
    for begin, end in sorted(_extent(member, name, tensor) for name, tensor in tensors.items()):
        if begin != position:
            raise refuse("is not a safetensors file: its tensors overlap or leave gaps.", where=member.name, help=_HELP)
        position = end
    if position != member.size - 8 - length:
        raise refuse("is not a safetensors file: it is cut short or has bytes left over.", where=member.name, help=_HELP)
    return {name: TensorHeader(tensor["dtype"], tuple(tensor["shape"])) for name, tensor in tensors.items()}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _extent(member: Member, name: str, tensor: Any) -> tuple[int, int]:
    """Begin and end of one tensor's bytes, which its dtype and shape must fill exactly."""
    try:
        bits, shape, (begin, end) = _BITS[tensor["dtype"]], tensor["shape"], tensor["data_offsets"]
        sizes = [begin, end, *shape]
        if len(shape) > 16 or not all(type(size) is int and 0 <= size < 1 << 48 for size in sizes):
            raise ValueError("impossible size")
        if (end - begin) * 8 != math.prod(shape) * bits:
            raise ValueError("shape and length disagree")
    except (KeyError, TypeError, ValueError) as error:
        raise refuse(f"is not a safetensors file: tensor {name[:60]!r} is malformed.", where=member.name, help=_HELP) from error
    return begin, end
