"""Programs for seccomp, run by a small machine for classic BPF."""

import errno
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from algocline_mcp.config import sandbox
from algocline_mcp.worker.confinement import bpf
from algocline_mcp.worker.confinement.system_calls import ABSENT, ALLOWED, ARCHITECTURES, CONDITIONS, filter_of

MACHINES = sorted(ARCHITECTURES)
EPERM, ENOSYS = bpf.fail_with(errno.EPERM), bpf.fail_with(errno.ENOSYS)
NUMBERS = range(1024)
X32 = 0x40000000  # the bit of the x32 ABI in a number
READ_WRITE, EXECUTE, ANONYMOUS, PRIVATE = 0x3, 0x4, 0x20, 0x2
# Harmless for any call: of mmap and mprotect memory that is not executable and belongs to no file.
PLAIN = (0, 4096, READ_WRITE, PRIVATE | ANONYMOUS, 0, 0)


def verdict(
    program: Sequence[bpf.Instruction], number: int, arguments: Sequence[int] = PLAIN, *, architecture: int
) -> int:
    """What the kernel would do: executes the instructions of seccomp(2) that this project uses, and no others."""
    words = {0: number, 4: architecture}
    for at, argument in enumerate(arguments):
        words |= {16 + 8 * at: argument & 0xFFFFFFFF, 20 + 8 * at: argument >> 32}
    accumulator = at = 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        match code:
            case 0x20:
                accumulator = words[k]
            case 0x54:
                accumulator &= k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"code {code:#x} is not known here")


@pytest.mark.parametrize("machine", MACHINES)
def test_exactly_the_allowed_calls_pass_and_no_argument_of_the_others_matters(machine: str) -> None:
    program, architecture = filter_of(machine), ARCHITECTURES[machine]
    allowed = {both[architecture.column] for both in ALLOWED.values()}
    absent = {both[architecture.column] for both in ABSENT.values()}

    verdicts = {number: verdict(program, number, architecture=architecture.audit) for number in NUMBERS}

    assert {number for number, action in verdicts.items() if action == bpf.ALLOW} == allowed
    assert {number for number, action in verdicts.items() if action == ENOSYS} == absent
    assert set(verdicts.values()) == {bpf.ALLOW, ENOSYS, EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_a_foreign_architecture_end_the_process(machine: str) -> None:
    program = filter_of(machine)
    foreign = [architecture.audit for name, architecture in ARCHITECTURES.items() if name != machine]

    verdicts = {verdict(program, number, architecture=audit) for number in NUMBERS for audit in (*foreign, 0x40000003)}

    assert verdicts == {bpf.KILL}


def test_numbers_of_the_x32_abi_are_denied() -> None:
    program, audit = filter_of("x86_64"), ARCHITECTURES["x86_64"].audit

    assert {verdict(program, X32 | number, architecture=audit) for number in NUMBERS} == {EPERM}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "action"),
    [
        ("mmap", PLAIN, bpf.ALLOW),
        ("mmap", (0, 4096, READ_WRITE | EXECUTE, PRIVATE | ANONYMOUS), EPERM),
        ("mmap", (0, 4096, EXECUTE, PRIVATE | ANONYMOUS), EPERM),
        ("mmap", (0, 4096, READ_WRITE, PRIVATE), EPERM),
        ("mmap", (0, 4096, 1 << 32 | READ_WRITE, PRIVATE | ANONYMOUS), bpf.ALLOW),  # the kernel reads the lower half
        ("mprotect", (0, 4096, READ_WRITE), bpf.ALLOW),
        ("mprotect", (0, 4096, EXECUTE), EPERM),
        ("mprotect", (0, 4096, 1 << 32 | EXECUTE), EPERM),
    ],
)
def test_memory_is_neither_executable_nor_of_a_file(
    machine: str, call: str, arguments: tuple[int, ...], action: int
) -> None:
    architecture = ARCHITECTURES[machine]
    number = ALLOWED[call][architecture.column]

    assert verdict(filter_of(machine), number, arguments, architecture=architecture.audit) == action
    assert set(CONDITIONS) <= set(ALLOWED)


def test_program_is_far_below_what_the_kernel_takes_and_a_jump_reaches() -> None:
    for machine in MACHINES:
        program = filter_of(machine)
        assert len(program) < 256 < 4096  # BPF_MAXINSNS
        assert len(bpf.encode(program)) == 8 * len(program)


HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = next((path for path in HEADERS[machine] if path.exists()), None)
    if header is None:
        pytest.skip(f"no header of the kernel for {machine}")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    column = ARCHITECTURES[machine].column

    expected = {name: both[column] for name, both in {**ALLOWED, **ABSENT}.items()}

    assert {name: int(defined[name]) for name in expected} == expected


def test_setting_and_tables_know_the_same_architectures() -> None:
    assert sorted(sandbox.ARCHITECTURES) == MACHINES
    assert platform.machine() not in MACHINES or filter_of(platform.machine())
