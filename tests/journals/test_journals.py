"""Journals of this release and of earlier releases continue as they would under the program that wrote them."""

import json
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp import __version__
from algocline_mcp.languages import LUA
from algocline_mcp.storage import journal_lines
from tests.journals.recorded_sessions import SESSIONS, resume
from tests.rig.rig import Rig

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are examined through /proc"),
]
FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if (path / "expected.json").exists())
ADVICE = """
{name} of {version} does not continue as before: {result}

Users have journals like this one. Either let the program continue them as before or, where this is not possible, raise
`prelude` in algocline_mcp/languages.py (or FORMAT in journal.py): such sessions then end with needs_version and can be
branched, and are never silently wrong. Only if {version} is not released yet: python tests/journals/write.py
"""


def with_installed_language(content: bytes) -> bytes:
    """The journal as if its release had been installed with the Lua of this environment.

    The version of the package that contains Lua does not depend on this program.
    """
    head, *rest = content.split(b"\n")
    assert LUA.distribution is not None
    installed = b'"%s":"%s"' % (LUA.distribution.encode(), version(LUA.distribution).encode())
    text = re.sub(rb'"%s":"[^"]*"' % LUA.distribution.encode(), installed, head[9:])
    record = {key: value for key, value in json.loads(text).items() if key != "s"}
    return b"\n".join([journal_lines.encode(record, 0)[:-1], *rest])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "exec"])
@pytest.mark.parametrize("written_by", VERSIONS)
async def test_journals_of_each_release_continue_as_before(
    rig: Rig, use_foreign_environment: Callable[[], None], written_by: str, way: str
) -> None:
    expected: dict[str, Any] = json.loads((FOLDER / written_by / "expected.json").read_text())
    use_foreign_environment()
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": way}) as pool:
        for name, wanted in expected.items():
            content = (FOLDER / written_by / f"{name}.journal").read_bytes()
            result = await resume(pool, with_installed_language(content))
            if written_by != __version__ and result["end"].get("error_code") == "needs_version":
                wanted = {**wanted, "end": result["end"]}  # another prelude: it asks nothing

            assert result == wanted, ADVICE.format(name=name, version=written_by, result=result)


def test_journals_of_this_release_are_written() -> None:
    assert __version__ in VERSIONS, "python tests/journals/write.py"
    written = {path.stem for path in (FOLDER / __version__).glob("*.journal")}

    assert written == set(SESSIONS), "python tests/journals/write.py"
