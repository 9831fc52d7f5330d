"""Arguments that would hold the event loop are refused before anything walks them."""

import json
import threading
import time
from typing import Any

import anyio
import pytest

from algocline_mcp.server.app import tools_of
from algocline_mcp.server.tool_call import cost
from algocline_mcp.server.tool_call.arguments import SHOWN_CHARS, quoted
from algocline_mcp.transport.jsonrpc import VALUES_MAX, WHOLE_BYTES
from tests.rig.hosts import Tools
from tests.rig.tool_replies import refusal_of

MB = 1_000_000
MANY = VALUES_MAX + 1
LONG = "x" * (5 * MB)

HOSTILE: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown names": ("alc_run", {f"k{n}": 1 for n in range(25_000)}, 'alc_run has no argument "k0"'),
    "a long unknown name": ("alc_run", {LONG: 1}, 'alc_run has no argument "xxx'),
    "a long name like an argument": ("alc_run", {"code" * MB: 1}, 'has no argument "codecode'),
    "JSON of many values as a text": (
        "alc_run",
        {"code": "x", "ctx": json.dumps({"a": [1] * MANY})},
        "ctx is a text of JSON",
    ),
    "deep JSON as a text": ("alc_run", {"code": "x", "ctx": "[" * MB}, "ctx is a text of JSON"),
    "responses as a text": (
        "alc_continue",
        {"session_id": "p", "responses": json.dumps([1] * MANY)},
        "is a text of JSON",
    ),
    "many responses": (
        "alc_continue",
        {"session_id": "p", "responses": [1] * 49_000},
        "responses has 49000 items, at most 256",
    ),
    "a long id in responses": (
        "alc_continue",
        {"session_id": "p", "responses": [{"query_id": LONG, "response": "a"}]},
        "is not an id of a prompt",
    ),
    "a long id": (
        "alc_continue",
        {"session_id": "p", "query_id": LONG, "response": "a"},
        "query_id has 5000000 characters",
    ),
    "a long path": ("alc_run", {"code_file": "x/" * MB}, "code_file has 2000000 characters, at most 4096"),
    "a long root": ("alc_run", {"code": "x", "project_root": "x/" * MB}, "project_root has 2000000 characters"),
    "a long number": ("alc_run", {"code": "x", "wait_s": "9" * MB}, "wait_s has 1000000 characters"),
    "a list as a number": ("alc_run", {"code": "x", "wait_s": [LONG] * 3}, "wait_s has 5000000 characters"),
    "a long count": (
        "alc_continue",
        {"session_id": "p", "response": "a", "usage": {"prompt_tokens": LONG}},
        "prompt_tokens is",
    ),
}


@pytest.mark.parametrize(("tool", "arguments", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_arguments_get_a_short_sentence(
    tools: Tools, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    shown = refusal_of(tools.call(tool, **arguments))

    assert sentence in shown
    assert len(shown) < 500


@pytest.mark.parametrize(
    "value", [LONG, [LONG] * 9, {LONG: LONG}, [1] * MB, [[[LONG]]]], ids=["text", "texts", "name", "list", "nested"]
)
def test_beginning_of_a_long_value_is_shown_without_writing_all_of_it(value: Any) -> None:
    began_s = time.process_time()
    shown = quoted(value)

    assert len(shown) == SHOWN_CHARS + 1
    assert time.process_time() - began_s < 0.1  # under 1 ms


@pytest.mark.parametrize("value", ["a", [], {}, {"a": [1, None, "é"]}, 1.5, None, True])
def test_short_value_is_shown_whole(value: Any) -> None:
    assert json.loads(quoted(value)) == value


@pytest.mark.parametrize("chars", [10, 2 * WHOLE_BYTES])
def test_long_json_in_a_text_is_judged_and_decoded_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, chars: int
) -> None:
    threads = []

    def costly(text: str) -> None:
        threads.append(threading.current_thread())

    monkeypatch.setattr(cost, "costly", costly)
    run = tools_of({})[0]
    ctx = {"a": "x" * chars}

    arguments = anyio.run(cost.within_cost, run, {"code": "x" * 2 * WHOLE_BYTES, "ctx": json.dumps(ctx)})

    is_long = chars > WHOLE_BYTES
    assert arguments["ctx"] == (ctx if is_long else json.dumps(ctx))
    assert [thread is threading.main_thread() for thread in threads] == [not is_long]


def test_long_text_that_is_not_json_is_refused_in_one_sentence(tools: Tools) -> None:
    shown = refusal_of(tools.call("alc_run", code="return 1", ctx="x" * 2 * WHOLE_BYTES))

    assert "ctx is a string that is not JSON" in shown
