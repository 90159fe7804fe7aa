"""The seccomp program, run by a small interpreter of the kernel's definition, against what the profile says."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import SandboxError
from sandbox.kernel.bpf import RET_ALLOW, RET_KILL_PROCESS, Program, errno_action
from sandbox.kernel.seccomp import PROFILE, Masked, Profile, Rule, architecture, bpf, docker_json
from sandbox.kernel.syscalls import ARCHITECTURES

MACHINES = sorted(ARCHITECTURES)
_UNIX = int(socket.AF_UNIX)


def verdict(program: bytes, number: int, audit: int, *arguments: int) -> int:
    """What the kernel would return for a call (linux/filter.h: load, and, jump if equal, return)."""
    values = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x15:
            position += if_true if accumulator == operand else if_false
        elif code == 0x06:
            return operand
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def expected(profile: Profile, name: str | None, *arguments: int) -> int:
    """The profile's own words, read without any program."""
    for rule in profile.rules:
        if name in rule.calls:
            if not rule.when or any(arguments[c.argument] & c.mask == c.value for c in rule.when):
                return errno_action(rule.errno) if rule.errno else RET_ALLOW
            return errno_action(profile.default_errno if rule.otherwise is None else rule.otherwise)
    return errno_action(profile.default_errno)


@pytest.mark.parametrize("machine", MACHINES)
@settings(max_examples=300)
@given(data=st.data())
def test_the_program_decides_every_call_as_the_profile_says(machine: str, data: st.DataObject) -> None:
    target = architecture(machine)
    names = {number: name for name, number in target.numbers.items()}
    number = data.draw(st.sampled_from(sorted(names)) | st.integers(0, 600) | st.integers(0x40000000, 0x40000200))
    interesting = st.sampled_from([0, 1, 2, 0x5401, 0x5412, 0x10000000, 0x7E020000, 0x100000001, 0x100005401])
    arguments = data.draw(st.lists(interesting | st.integers(0, 2**64 - 1), min_size=6, max_size=6))
    assert verdict(bpf(machine=machine), number, target.audit, *arguments) == expected(PROFILE, names.get(number), *arguments)


_WORDS = st.sampled_from([0, 1, 0xFF00, 0xFFFFFFFF, 1 << 32, 0xFFFFFFFF_00000000, 2**64 - 1]) | st.integers(0, 2**64 - 1)
_CONDITIONS = st.builds(Masked, argument=st.integers(0, 5), mask=_WORDS, value=_WORDS)


@settings(max_examples=300)
@given(
    conditions=st.lists(_CONDITIONS, max_size=4),
    otherwise=st.none() | st.integers(1, 40),
    number=st.sampled_from([0, 1, 2]),
    arguments=st.lists(_WORDS, min_size=6, max_size=6),
    hit=st.booleans(),
)
def test_any_profile_is_decided_as_it_says(
    conditions: list[Masked], otherwise: int | None, number: int, arguments: list[int], hit: bool
) -> None:
    if hit and conditions:  # at random two words of 64 bits hardly ever meet
        arguments[conditions[0].argument] = conditions[0].value
    profile = Profile(
        (Rule(("read",), when=tuple(conditions), otherwise=otherwise), Rule(("write",), errno=7)), default_errno=38
    )
    names = {0: "read", 1: "write"}
    program = bpf(profile, "x86_64")
    got = verdict(program, number, ARCHITECTURES["x86_64"].audit, *arguments)
    assert got == expected(profile, names.get(number), *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_kills(machine: str) -> None:
    for audit in (0x40000003, 0, *(other.audit for name, other in ARCHITECTURES.items() if name != machine)):
        assert verdict(bpf(machine=machine), 39, audit) == RET_KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_bits_that_the_kernel_ignores_open_nothing(machine: str) -> None:
    target = architecture(machine)
    program = bpf(machine=machine)
    for high in (0, 1, 0xFFFFFFFF):
        assert verdict(program, target.numbers["ioctl"], target.audit, 0, high << 32 | 0x5412) != RET_ALLOW
        assert verdict(program, target.numbers["ioctl"], target.audit, 0, high << 32 | 0x5401) == RET_ALLOW
    assert verdict(program, target.numbers["socket"], target.audit, 1 << 32 | socket.AF_INET) == errno_action(
        errno.EAFNOSUPPORT
    )
    assert verdict(program, target.numbers["socket"], target.audit, _UNIX) == RET_ALLOW


def test_no_call_is_named_by_two_rules() -> None:
    named = [call for rule in PROFILE.rules for call in rule.calls]
    assert len(named) == len(set(named))


def test_every_call_that_is_named_has_a_number() -> None:
    named = {call for rule in PROFILE.rules for call in rule.calls}
    assert named == set(ARCHITECTURES["x86_64"].numbers)


def test_docker_gets_the_same_rules() -> None:
    profile = docker_json(machine="x86_64")
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64"]
    entries = profile["syscalls"]
    assert isinstance(entries, list)
    allowed = {name for entry in entries if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]}
    assert allowed == {call for rule in PROFILE.rules if rule.errno == 0 for call in rule.calls}
    (clone,) = [entry for entry in entries if entry["names"] == ["clone"]]
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]


def test_an_unknown_architecture_is_an_error_that_says_so() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        bpf(machine="riscv64")


def test_a_jump_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="255"):
        Program().skip_if_equal(1, 256)
