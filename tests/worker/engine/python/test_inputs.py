"""Inputs that a package in Python declares: what its run finds, and the one sentence where something is missing."""

import json
from typing import Any

import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.languages import PYTHON
from algocline_mcp.worker.engine.process import LanguageRuntime, Start
from algocline_mcp.worker.engine.python.runtime import prepare
from tests.worker.engine.conformance.keeper import ScriptedKeeper

DECLARED = """\
meta = {"inputs": {"n": {"type": "integer", "default": 3}, "q": {"type": "string", "description": "a question"}}}


def run(ctx):
    return [ctx["q"], ctx["n"], ctx.get("other")]
"""


class Keeper(ScriptedKeeper):
    """Knows the package `one`."""

    def ask(self, line: bytes) -> bytes:
        if json.loads(line).get("name") == "module":
            return json.dumps({"result": {"source": DECLARED, "chunk": "one/__init__.py"}}).encode()
        return super().ask(line)


@pytest.fixture(scope="module")
def runtime() -> LanguageRuntime:
    return prepare(heap_bytes=64 * MIB, headroom_bytes=16 * MIB, line_bytes=8 * MIB)


def ended(runtime: LanguageRuntime, ctx: dict[str, Any], *, is_child: bool = False, code: str = DECLARED) -> Any:
    start = Start(code, "one/__init__.py" if code is DECLARED else "strategy", json.dumps(ctx), 1, 1790000000.0)
    if is_child:
        start = Start(PYTHON.child.format("one"), "fork of one", json.dumps(ctx), 1, 1790000000.0, heap_bytes=8 * MIB)
    return json.loads(runtime.run(start, Keeper([], {})))


@pytest.mark.parametrize("is_child", [False, True])
def test_run_finds_the_inputs_that_the_package_declares(runtime: LanguageRuntime, is_child: bool) -> None:
    assert ended(runtime, {"q": "?", "n": "4"}, is_child=is_child)["result"] == ["?", 4, None]
    assert ended(runtime, {"q": "?"}, is_child=is_child)["result"] == ["?", 3, None]


@pytest.mark.parametrize("is_child", [False, True])
def test_an_input_that_is_missing_is_one_sentence_without_a_traceback(runtime: LanguageRuntime, is_child: bool) -> None:
    assert ended(runtime, {"m": 1}, is_child=is_child)["error"] == "one needs q (a question)"


def test_a_name_that_is_no_input_is_a_warning_and_of_a_child_only_where_it_is_nearly_one(
    runtime: LanguageRuntime,
) -> None:
    far = "one has no input other, and leaves it alone: its inputs are n, q"

    assert ended(runtime, {"q": "?", "other": 1})["warnings"] == [far]
    assert "warnings" not in ended(runtime, {"q": "?", "other": 1}, is_child=True)


def test_a_pipe_gives_the_inputs_too(runtime: LanguageRuntime) -> None:
    code = "import alc\ndef run(ctx):\n    alc.pipe(['one'], ctx)\n"

    assert ended(runtime, {}, code=code)["error"].startswith("one needs q (a question)\n")
    assert "must return a dict (ctx)" in ended(runtime, {"q": "?"}, code=code)["error"]
