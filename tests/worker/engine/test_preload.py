"""What a worker starts with: a fork server prepares every language, a worker by exec that of its session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.languages import LANGUAGES
from tests.rig.rig import Rig, run, say

PROGRAM = """
import os, sys
from algocline_mcp.worker.engine.preload import Preloaded

preloaded = Preloaded.from_env(os.environ, *([sys.argv[1:]] if sys.argv[1:] else []))
print(sorted(name for name in ("lupa", "asyncio") if name in sys.modules))
print(sorted(preloaded.runtimes), preloaded.runtimes.get("zig"), preloaded.abis["python"]["language"])
"""


@pytest.mark.parametrize(
    ("names", "imported"),
    [([], ["asyncio", "lupa"]), (["lua"], ["lupa"]), (["python"], ["asyncio"]), (["zig"], [])],
)
def test_only_the_languages_that_are_named_are_prepared(tmp_path: Path, names: list[str], imported: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *names]
    environ = {**os.environ, "ALC_HOME": str(tmp_path)}

    lines = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()

    assert lines == [str(imported), f"{sorted(LANGUAGES)} None python"]


def test_asyncio_of_strategies_comes_without_ssl(tmp_path: Path) -> None:
    """No strategy can open a connection. Each fork would copy the page table of 0.7 MiB more."""
    program = PROGRAM.replace('"lupa"', '"ssl", "_ssl"')
    environ = {**os.environ, "ALC_HOME": str(tmp_path)}

    lines = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert lines.stdout.splitlines()[0] == "['asyncio']"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("lua", "return alc.call('other', ctx) .. alc.llm('own')"),
        ("python", "import alc\nreturn alc.call('other', ctx) + alc.llm('own')"),
    ],
)
async def test_child_in_another_language_runs_in_a_worker_by_exec(rig: Rig, language: str, code: str) -> None:
    other = {
        "lua": ("other.py", "import alc, tomllib\ndef run(ctx): return alc.llm('child')"),
        "python": ("other.lua", "return {run = function(ctx) return alc.llm('child') end}"),
    }
    name, text = other[language]
    rig.home.packages.mkdir(parents=True, exist_ok=True)
    (rig.home.packages / name).write_text(text)

    async with rig.pool(environ={**os.environ, "ALC_SPAWN": "exec"}) as pool:
        first = await run(pool, code, language=language)
        second = await say(pool, first.session_id, first.result["query_id"], "a")
        last = await say(pool, first.session_id, second.result["query_id"], "b")

    assert (first.result["prompt"], second.result["prompt"], last.result["result"]) == ("child", "own", "ab")
