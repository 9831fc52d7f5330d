"""Journals of this and of earlier releases go on as they would have gone on under the program that wrote them."""

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
from tests.journals.stories import STORIES, play
from tests.rig.rig import Rig

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc"),
]
FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if (path / "expected.json").exists())
ADVICE = """
{name} of {version} does not go on as it did: {told}

Journals like this one lie in people's homes. Either let the program do with them what it did, or, where it cannot,
count `prelude` in algocline_mcp/languages.py up (or FORMAT in journal.py), so that they are told needs_version and are
branched, never silently wrong. Only if {version} is not released yet: python tests/journals/write.py
"""


def with_installed_language(content: bytes) -> bytes:
    """As if the release that is tested here had been installed with the Lua that is there now: which version of the
    package it comes in is no matter of this program."""
    head, *rest = content.split(b"\n")
    mine = b'"%s":"%s"' % (LUA.distribution.encode(), version(LUA.distribution).encode())
    text = re.sub(rb'"%s":"[^"]*"' % LUA.distribution.encode(), mine, head[9:])
    record = {key: value for key, value in json.loads(text).items() if key != "s"}
    return b"\n".join([journal_lines.encode(record, 0)[:-1], *rest])


@pytest.mark.parametrize("way", ["fork", "exec"])
@pytest.mark.parametrize("written_by", VERSIONS)
async def test_journals_of_each_release_go_on_as_they_did(
    rig: Rig, abroad: Callable[[], None], written_by: str, way: str
) -> None:
    expected: dict[str, Any] = json.loads((FOLDER / written_by / "expected.json").read_text())
    abroad()
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": way}) as pool:
        for name, wanted in expected.items():
            content = (FOLDER / written_by / f"{name}.journal").read_bytes()
            told = await play(pool, with_installed_language(content))
            if written_by != __version__ and told["end"].get("error_code") == "needs_version":
                wanted = {**wanted, "end": told["end"]}  # a later prelude says so, and asks nothing

            assert told == wanted, ADVICE.format(name=name, version=written_by, told=told)


def test_this_release_leaves_its_journals_to_the_next_ones() -> None:
    assert __version__ in VERSIONS, "python tests/journals/write.py"
    written = {path.stem for path in (FOLDER / __version__).glob("*.journal")}

    assert written == set(STORIES), "python tests/journals/write.py"
