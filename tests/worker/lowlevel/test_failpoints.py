"""Fail points: the code has each documented name exactly once, and no other name."""

import re
from pathlib import Path

import algocline_mcp.worker
from algocline_mcp.worker.lowlevel import failpoints

ROOM = Path(algocline_mcp.worker.__file__).parent


def test_each_fail_point_is_in_the_code_once_and_is_documented() -> None:
    used = [name for path in ROOM.rglob("*.py") for name in re.findall(r'\bfail_point\("([^"]+)"\)', path.read_text())]

    assert sorted(used) == sorted(failpoints.POINTS)
    assert re.findall(r"^    (\w+\.\w+) ", failpoints.__doc__ or "", re.M) == list(failpoints.POINTS)
