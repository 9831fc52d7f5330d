"""Fail points: each name that is documented stands in the code, once, and the other way round."""

import re
from pathlib import Path

import algocline_mcp.worker
from algocline_mcp.worker.lowlevel import failpoints

ROOM = Path(algocline_mcp.worker.__file__).parent


def test_each_fail_point_stands_in_the_code_once_and_is_documented() -> None:
    reached = [name for path in ROOM.rglob("*.py") for name in re.findall(r'\breach\("([^"]+)"\)', path.read_text())]

    assert sorted(reached) == sorted(failpoints.POINTS)
    assert re.findall(r"^    (\w+\.\w+) ", failpoints.__doc__ or "", re.M) == list(failpoints.POINTS)
