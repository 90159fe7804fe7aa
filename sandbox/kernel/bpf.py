"""A very small assembler for the classic BPF programs that seccomp runs (linux/filter.h, linux/seccomp.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

RET_ALLOW = 0x7FFF0000
RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000

_LOAD_WORD, _AND, _RETURN, _JUMP_EQUAL = 0x20, 0x54, 0x06, 0x15
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_MAX_PROGRAM, _MAX_JUMP = 4096, 255


def errno_action(number: int) -> int:
    """The return value that makes the call fail with this errno (0 to 4095)."""
    return _RET_ERRNO | (number & 0xFFFF)


@dataclass
class Program:
    """Instructions in order. The jumps compare the accumulator with a value and skip `skip` of the following instructions."""

    _code: list[tuple[int, int, int, int]] = field(default_factory=list)

    def load_number(self) -> Program:
        return self._add(_LOAD_WORD, _NUMBER)

    def load_architecture(self) -> Program:
        return self._add(_LOAD_WORD, _ARCHITECTURE)

    def load_argument(self, index: int, *, high: bool) -> Program:
        """Half of argument `index` (0 to 5) on a little-endian machine."""
        return self._add(_LOAD_WORD, _ARGUMENTS + 8 * index + (4 if high else 0))

    def mask(self, bits: int) -> Program:
        return self._add(_AND, bits)

    def skip_if_equal(self, value: int, skip: int) -> Program:
        return self._add(_JUMP_EQUAL, value, if_true=_checked(skip))

    def skip_unless_equal(self, value: int, skip: int) -> Program:
        return self._add(_JUMP_EQUAL, value, if_false=_checked(skip))

    def give(self, action: int) -> Program:
        return self._add(_RETURN, action)

    def extend(self, other: Program) -> Program:
        self._code.extend(other._code)
        return self

    def __len__(self) -> int:
        return len(self._code)

    def assemble(self) -> bytes:
        """The array of struct sock_filter that the kernel, and bubblewrap's --seccomp, take."""
        if len(self._code) > _MAX_PROGRAM:
            raise ValueError(f"a seccomp program has at most {_MAX_PROGRAM} instructions, not {len(self._code)}")
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in self._code)

    def _add(self, code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> Program:
        self._code.append((code, if_true, if_false, operand))
        return self


def _checked(skip: int) -> int:
    if not 0 <= skip <= _MAX_JUMP:
        raise ValueError(f"a BPF jump spans at most {_MAX_JUMP} instructions, not {skip}")
    return skip
