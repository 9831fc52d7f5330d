"""Calls of a real server that lists every tool (fixture `host`), and a package for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server
from algocline_mcp.errors import Refused

LIMIT_S = 60.0  # a test that hangs fails after this; no test takes as long, even on a busy machine
PACKAGE = """\
--- echo: says what it is given
---
--- Options: times.
return {
  meta = { version = "1.2", description = "Says what it is given" },
  run = function(ctx) return { said = alc.llm(ctx.task), times = ctx.times } end,
}
"""


@pytest.fixture
def echo_package(tmp_path: Path) -> Path:
    """The directory of a package with one strategy, `echo`."""
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "init.lua").write_text(PACKAGE)
    return tmp_path / "echo"


def refusal_of_call(host: Server, tool: str, **arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        host.call(tool, **arguments)
    return str(caught.value)


def until(read: Callable[[], dict[str, Any]], is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first value for which `is_so`. A session is counted when its journal is archived, just after the reply."""
    deadline_s = time.monotonic() + LIMIT_S
    while not is_so(value := read()):
        assert time.monotonic() < deadline_s, value
    return value
