"""Rulesets of Landlock by ABI, as linux/landlock.h and the documentation of the kernel describe them."""

import struct

import pytest

from algocline_mcp.worker.confinement import landlock


@pytest.mark.parametrize(
    ("abi", "files", "ports", "scopes"),
    [
        (1, 0x1FFF, None, None),
        (2, 0x3FFF, None, None),
        (3, 0x7FFF, None, None),
        (4, 0x7FFF, 0x3, None),
        (5, 0xFFFF, 0x3, None),
        (6, 0xFFFF, 0x3, 0x3),
        (7, 0xFFFF, 0x3, 0x3),
        (9, 0x1FFFF, 0x3, 0x3),
        (99, 0x1FFFF, 0xF, 0x3),
    ],
)
def test_ruleset_handles_every_right_of_its_abi(abi: int, files: int, ports: int | None, scopes: int | None) -> None:
    fields = [field for field in (files, ports, scopes) if field is not None]

    assert landlock.ruleset(abi) == struct.pack(f"={len(fields)}Q", *fields)
