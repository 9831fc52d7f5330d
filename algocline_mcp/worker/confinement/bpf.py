"""Programs for seccomp in classic BPF: an allow-list of system calls, some with conditions on their arguments. Pure.

Why not a library: libseccomp, and the wheels that wrap it, need a shared library of the system or cover few platforms;
the pure ones on PyPI are two months old. This is what they would do for an allow-list.

A program reads `struct seccomp_data` (linux/seccomp.h): the number of the call at 0, the architecture at 4, the
arguments of 64 bits each at 16. Every comparison is of 32 bits.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, the number in its lower half

_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # BPF_LD|W|ABS, ALU|AND|K, JMP|JEQ|K, RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, k

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Condition:
    """The lower half of an argument, under a mask, has this value."""

    argument: int  # from 0
    mask: int
    value: int


def fail_with(number: int) -> int:
    """The action that lets the call fail with this errno."""
    return _ERRNO | number


def allow_list(
    architecture: int,
    allowed: Mapping[int, Sequence[Condition]],
    *,
    failing: Mapping[int, int],
    default: int,
) -> list[Instruction]:
    """`allowed`: number of a call -> conditions that must all hold, none for any arguments; the most frequent first.
    `failing`: number -> errno, where another error than the default is expected. A call of a foreign architecture,
    whose numbers mean something else, ends the process."""
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number, conditions in allowed.items():
        program += _if_number(number, _checked(conditions, default))
    for number, error in failing.items():
        program += _if_number(number, [(_RETURN, 0, 0, fail_with(error))])
    return [*program, (_RETURN, 0, 0, default)]


def _if_number(number: int, then: Sequence[Instruction]) -> list[Instruction]:
    return [(_JUMP_IF_EQUAL, 0, len(then), number), *then]


def _checked(conditions: Sequence[Condition], default: int) -> list[Instruction]:
    program: list[Instruction] = []
    for condition in conditions:
        program += [
            (_LOAD, 0, 0, _ARGUMENTS + 8 * condition.argument),
            (_AND, 0, 0, condition.mask),
            (_JUMP_IF_EQUAL, 1, 0, condition.value),
            (_RETURN, 0, 0, default),
        ]
    return [*program, (_RETURN, 0, 0, ALLOW)]


def encode(program: Sequence[Instruction]) -> bytes:
    """The instructions as the kernel reads them, in the byte order of this machine."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
