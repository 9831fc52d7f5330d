"""The tools as a host sees them: their schemas, their texts, and one clear sentence for every bad input."""

import inspect
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from algocline_mcp import __version__
from algocline_mcp.server.app import INSTRUCTIONS, tools_of

if TYPE_CHECKING:
    from tests.rig.hosts import Tools

LIMIT_S = 60.0  # nothing here takes as long, on a busy machine neither; a test that hangs fails after it
TWO = json.dumps({"pauses": [["a", "b"], ["c"]]})
ONE = json.dumps({"pauses": [["a"]]})
SID = "p-1-0123456789abcdef"


def _text(reply: Any) -> str:
    assert len(reply.content) == 1
    text: str = reply.content[0].text
    return text


def _result(reply: Any) -> dict[str, Any]:
    """The structured result, after the checks that hold for every success."""
    assert not reply.is_error, _text(reply)
    result: dict[str, Any] = reply.structured_content
    assert _text(reply) == json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    return result


def _refusal(reply: Any) -> str:
    """The sentence, after the checks that hold for every error."""
    assert reply.is_error
    assert reply.structured_content is None
    text = _text(reply)
    assert text.endswith("]"), "an error ends with its code"
    assert "\n" not in text
    for noise in ("pydantic", "http", "Arguments", "validation error", "Traceback", "Error executing"):
        assert noise not in text
    return text


# ── what is published ─────────────────────────────────────────────────────────────────────────────────────


def test_the_list_of_tools_is_short_and_says_what_each_does(tools: "Tools") -> None:
    listed = tools.listed()

    assert list(listed) == ["alc_run", "alc_continue", "alc_status", "alc_stop", "alc_branch", "alc_catalog"]
    minified, core = (
        json.dumps({"tools": [*listed.values()][:count]}, ensure_ascii=False, separators=(",", ":")) for count in (6, 4)
    )
    assert (len(minified) < 7000, len(core) < 5000) == (True, True)
    assert '"title":"C' not in minified
    assert all(tool["inputSchema"]["additionalProperties"] is False for tool in listed.values())
    assert all(tool["outputSchema"]["additionalProperties"] is True for tool in listed.values())
    assert "outlive restarts" in listed["alc_run"]["description"]


@pytest.mark.parametrize(
    ("tool", "hints"),
    [
        ("alc_run", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("alc_continue", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True}),
        ("alc_status", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("alc_stop", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
        ("alc_branch", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("alc_catalog", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
    ],
)
def test_annotations_are_accurate(tools: "Tools", tool: str, hints: dict[str, bool]) -> None:
    assert tools.listed()[tool]["annotations"] == {**hints, "openWorldHint": False}


@pytest.mark.parametrize(
    ("tool", "arguments", "required"),
    [
        ("alc_run", "code code_file strategy task opts ctx title project_root wait_s", []),
        ("alc_continue", "session_id response responses refuse query_id usage by wait_s", ["session_id"]),
        ("alc_status", "session_id wait_s view limit cursor", []),
        ("alc_stop", "session_id mode", ["session_id"]),
        ("alc_branch", "session_id at response code code_file ctx n dry_run wait_s", ["session_id"]),
        ("alc_catalog", "kind name query limit cursor", []),
    ],
)
def test_each_tool_has_its_arguments(tools: "Tools", tool: str, arguments: str, required: list[str]) -> None:
    schema = tools.listed()[tool]["inputSchema"]

    assert list(schema["properties"]) == arguments.split()
    assert schema.get("required", []) == required


def test_every_tool_is_async_so_that_none_takes_the_threads_of_the_sdk() -> None:
    assert all(inspect.iscoroutinefunction(tool.fn) for tool in tools_of({}))


def test_texts_are_exactly_str_so_that_the_sdk_leaves_json_in_them_alone() -> None:
    for tool in tools_of({}):
        for name in ("code", "code_file", "session_id", "response", "refuse", "query_id", "title", "by", "at"):
            if name in tool.fn_metadata.arg_model.model_fields:
                assert tool.fn_metadata.arg_model.model_fields[name].annotation is str, f"{tool.name}.{name}"


def test_the_instructions_fit_and_teach_in_order(tools: "Tools") -> None:
    async def play() -> Any:
        async with tools.client() as client:
            return client.instructions, client.server_info.version

    instructions, version = anyio.run(play)
    assert instructions == INSTRUCTIONS
    assert version == __version__
    assert len(instructions.encode()) <= 2048
    order = [
        "alc_run", "EVERY pending prompt", "query_id", "running:", "completed:", "error:",
        "Exactly in the form", "`system`", "on its own", "grounded", "underspecified", "refuse", "OUTLIVE",
    ]  # fmt: skip
    places = [instructions.index(word) for word in order]
    assert places == sorted(places)
    assert instructions.rindex("alc_status()") > places[-1]


# ── what goes through ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "field", "arrives"),
    [
        ({"code": ""}, "code", ""),
        ({"code": {"a": 1}}, "code", '{"a": 1}'),
        ({"code": "x"}, "ctx", {}),
        ({"code": "x", "ctx": None}, "ctx", {}),
        ({"code": "x", "ctx": {"a": [None, {}]}}, "ctx", {"a": [None, {}]}),
        ({"code": "x", "ctx": '{"a":1}'}, "ctx", {"a": 1}),
        ({"code": "x", "title": "t" * 500}, "title", "t" * 119 + "…"),
        ({"code": "x", "title": None}, "title", None),
        ({"code": "x", "code_file": ""}, "code", "x"),
        ({"code": "x", "task": "t"}, "ctx", {"task": "t"}),
        ({"code": "x", "task": "", "ctx": {"task": "no", "a": 1}, "opts": '{"a": 2}'}, "ctx", {"task": "", "a": 2}),
        ({"code": "x", "strategy": "", "opts": None, "task": None}, "ctx", {}),
        ({"code": "x"}, "name", None),
        ({"code": "x"}, "wait_s", 45.0),
        ({"code": "x", "wait_s": "0.5"}, "wait_s", 0.5),
        ({"code": "x", "wait_s": 1e9}, "wait_s", 50.0),
        ({"code": "x"}, "chunk", "strategy"),
    ],
)
def test_arguments_arrive_as_meant(tools: "Tools", arguments: dict[str, Any], field: str, arrives: Any) -> None:
    assert _result(tools.call("alc_run", **arguments))["result"][field] == arrives


@pytest.mark.parametrize(
    ("client", "setting", "arrives"),
    [("claude-code", "", 110.0), ("claude-ai", "", 50.0), ("claude-code", "7", 7.0), ("codex", "600", 600.0)],
)
def test_the_longest_wait_follows_the_name_of_the_host_and_the_setting(
    tools: "Tools", monkeypatch: pytest.MonkeyPatch, client: str, setting: str, arrives: float
) -> None:
    monkeypatch.setenv("ALC_WAIT_MAX_S", setting)
    tools.client_name = client

    assert _result(tools.call("alc_run", code="x", wait_s=1e9))["result"]["wait_s"] == arrives


def test_a_failed_write_of_the_registry_is_a_field_of_the_result(tools: "Tools") -> None:
    assert _result(tools.call("alc_run", code="x"))["pool_save_error"] == "registry.json: disk full"


@pytest.mark.parametrize("response", ["", "null", '{"score": 3}', "[1]", "3", "true"])
def test_a_response_arrives_letter_by_letter(tools: "Tools", response: str) -> None:
    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", {"session_id": SID, "response": response}))

    assert _result(replies[1])["result"] == [{"id": "q-0", "response": response}]


def test_a_response_that_is_no_text_arrives_as_its_json(tools: "Tools") -> None:
    call = {"session_id": SID, "response": {"score": 3, "why": "é"}}

    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", call))
    assert _result(replies[1])["result"] == [{"id": "q-0", "response": '{"score": 3, "why": "é"}'}]


def test_a_prompt_keeps_system_and_max_tokens_and_a_result_its_null(tools: "Tools") -> None:
    first, second = tools.calls(
        ("alc_run", {"code": ONE}), ("alc_run", {"code": '{"status": "completed", "result": null}'})
    )

    assert {"system", "max_tokens", "query_id", "prompt"} <= _result(first).keys()
    assert "result" in _result(second)


@pytest.mark.parametrize("is_text", [False, True])
def test_responses_are_taken_item_by_item(tools: "Tools", is_text: bool) -> None:
    items = [
        {"query_id": "q-1", "response": "B", "usage": {"prompt_tokens": 3, "total": 9}},
        {"response": "without an id"},
        {"id": "q-0", "refuse": "no idea", "by": "human"},
        {"query_id": "q-7", "response": "x"},
    ]
    call = {"session_id": SID, "responses": json.dumps(items) if is_text else items, "by": "model"}

    replies = tools.calls(
        ("alc_run", {"code": TWO}),
        ("alc_continue", call),
        ("alc_continue", {"session_id": SID, "response": "C", "query_id": "q-2"}),
    )

    assert [item["query_id"] for item in _result(replies[1])["refused"]] == ["q-7", None]
    assert _result(replies[2])["result"] == [
        {"id": "q-1", "response": "B", "usage": {"prompt_tokens": 3}, "by": "model"},
        {"id": "q-0", "refuse": "no idea", "by": "human"},
        {"id": "q-2", "response": "C"},
    ]


def test_sessions_are_listed_where_no_session_id_is_given(tools: "Tools") -> None:
    empty, _, one, same = tools.calls(
        ("alc_status", {}),
        ("alc_run", {"code": ONE}),
        ("alc_status", {"session_id": None}),
        ("alc_status", {"session_id": ""}),
    )

    assert _text(empty) == '{"active_sessions":0,"sessions":[]}'
    assert [(line["session_id"], line["status"]) for line in _result(one)["sessions"]] == [(SID, "needs_response")]
    assert _result(same) == _result(one)


def test_stop_hibernates_unless_told_to_cancel(tools: "Tools") -> None:
    _, slept, ended = tools.calls(
        ("alc_run", {"code": ONE}),
        ("alc_stop", {"session_id": SID}),
        ("alc_stop", {"session_id": SID, "mode": "cancel"}),
    )

    assert _result(slept)["status"] == "needs_response"
    assert _result(ended)["status"] == "cancelled"


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_found_from_the_project_and_names_its_chunk(tools: "Tools", tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "p.lua").write_bytes(b"\xef\xbb\xbfreturn 1\n")

    started = _result(tools.call("alc_run", code_file="plans/p.lua", project_root=str(tmp_path)))["result"]
    assert started["code"] == "return 1\n"
    assert started["chunk"] == "p.lua"
    assert started["lib_paths"] == [str(tmp_path / "plans"), str(tmp_path)]


def test_a_file_is_found_from_the_working_directory_otherwise(
    tools: "Tools", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.lua").write_text("return 2")

    assert _result(tools.call("alc_run", code_file="q.lua"))["result"]["code"] == "return 2"


@pytest.mark.parametrize("kind", ["absent", "directory", "pipe", "large", "binary", "nul"])
def test_a_file_that_cannot_be_read_is_named_with_the_cure(
    tools: "Tools", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("ALC_CODE_BYTES", "10")
    path = tmp_path / "f.lua"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("large", "binary"):
        path.write_bytes(b"x" * 11 if kind == "large" else b"\xff")
    name = f"{path}\0" if kind == "nul" else str(path)
    expected = {
        "absent": f"Failed to read {path}: No such file or directory (os error 2); check",
        "directory": f"Failed to read {path}: Is a directory (os error 21); check",
        "pipe": "not a regular file; name a file",
        "large": "11 bytes, at most 10: shorten",
        "binary": "byte 0 is not UTF-8; save the file",
        "nul": "null byte; check the path",
    }[kind]

    assert expected in _refusal(tools.call("alc_run", code_file=name))


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────

DEEP: dict[str, Any] = {}
for _ in range(150):
    DEEP = {"a": DEEP}

BAD_RUN: list[tuple[dict[str, Any], str]] = [
    ({}, "Either `code` or `code_file` must be provided."),
    ({"code": None}, "Either `code` or `code_file` must be provided."),
    ({"code": "x", "code_file": "y"}, "Provide either `code` or `code_file`, not both."),
    ({"code": "", "code_file": "y"}, "Provide either `code` or `code_file`, not both."),
    ({"code": "", "strategy": "y"}, "Provide either `code` or `strategy`, not both."),
    ({"code": "x", "code_file": "y", "strategy": "z"}, "Provide either `code` or `code_file` or `strategy`, not all"),
    ({"strategy": "nowhere"}, "Strategy 'nowhere' is not installed, and no other strategy is. To install some: alc "),
    ({"code": "x", "opts": "{"}, "opts is a string that is not JSON: give an object such as"),
    ({"code": "x", "cod_file": "y"}, 'no argument "cod_file" (did you mean code_file?): its arguments are code,'),
    ({"code": "x", "host_mode": True}, "its arguments are code, code_file, strategy, task, opts, ctx, title, "),
    ({"code": "x" * 1_048_577}, "1048577 bytes, at most 1048576: shorten"),
    ({"code": "x", "ctx": "{"}, "ctx is a string that is not JSON: give an object"),
    ({"code": "x", "ctx": "hello"}, "ctx is a string that is not JSON: give an object"),
    ({"code": "x", "ctx": [1]}, "ctx is a list: give an object"),
    ({"code": "x", "ctx": "[1]"}, "ctx is a list: give an object"),
    ({"code": "x", "ctx": 3}, "ctx is a number: give an object"),
    ({"code": "x", "ctx": True}, "ctx is a boolean: give an object"),
    ({"code": "x", "ctx": '{"a": [1e999]}'}, "NaN or an infinity"),
    ({"code": "x", "ctx": DEEP}, "more than 128 levels deep: flatten"),
    ({"code": "x", "ctx": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"}, "ctx is nested too deeply: flatten it"),
    ({"code": "x", "ctx": {"a": "é" * 1_100_000}}, "at most 2097152: shorten it"),
    ({"code": "x", "wait_s": -1}, "wait_s is -1: give a number of seconds, 0 or more"),
    ({"code": "x", "wait_s": "nan"}, 'wait_s is "nan": give a number of seconds'),
    ({"code": "x", "wait_s": [45]}, "wait_s is [45]: give a number of seconds"),
    ({"code": "x", "wait_s": "soon"}, 'wait_s is "soon": give a number of seconds'),
    ({"code": "x", "project_root": "/no/such/place"}, "/no/such/place is not a directory: give the absolute path"),
    ({"code": '{"do": "refuse"}'}, "the fake refuses this: ask for something else [busy]"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), BAD_RUN)
def test_a_bad_alc_run_gets_one_sentence(tools: "Tools", arguments: dict[str, Any], sentence: str) -> None:
    refused, listed = tools.calls(("alc_run", arguments), ("alc_status", {}))

    assert sentence in _refusal(refused)
    assert _result(listed)["active_sessions"] == 0


S = {"session_id": SID}
GOOD = {"query_id": "q-0", "response": "x"}
BAD_CONTINUE: list[tuple[dict[str, Any], str]] = [
    (S, "Either 'response' or 'responses' must be provided"),
    ({**S, "response": None}, "Either 'response' or 'responses' must be provided"),
    ({**S, "responses": []}, "Empty responses array"),
    ({**S, "responses": "[]"}, "Empty responses array"),
    ({**S, "responses": "nonsense"}, "responses is a string that is not JSON: give a list"),
    ({**S, "responses": 3}, "responses is a number: give a list"),
    ({**S, "responses": ["yes"]}, "an item of responses is a string: give an object"),
    ({**S, "responses": [{"response": "x"}]}, "has no query_id: name the prompt"),
    ({**S, "responses": [{"query_id": "q-0"}]}, "needs either a response, or refuse"),
    ({**S, "responses": [{"query_id": "q-0", "respnse": "x"}]}, 'no field "respnse": its fields are query_id'),
    ({**S, "responses": [{**GOOD, "refuse": "y"}]}, "either a response, or refuse"),
    ({**S, "responses": [GOOD], "response": "y"}, "together with response: put"),
    ({**S, "responses": [GOOD], "query_id": "q-0"}, "together with query_id: put"),
    ({**S, "response": "x", "refuse": "y"}, "give either response or refuse, not both"),
    ({**S, "response": "x", "usage": {"prompt_tokens": -1}}, "usage.prompt_tokens is -1: give a whole number"),
    ({**S, "response": "x", "usage": 5}, "usage is a number: give an object"),
    ({**S, "response": "x" * 4_194_305}, "4194305 bytes, at most 4194304 in one call: shorten"),
    ({**S, "response": "x", "query_id": "q-9"}, "unknown query_id: q-9"),
    ({"response": "x"}, "alc_continue needs session_id: its arguments are session_id, response,"),
    ({"session_id": "", "response": "x"}, "session_id is empty: take it from the result of alc_run"),
    ({"session_id": None, "response": "x"}, "session_id is empty: take it from the result of alc_run"),
    ({"session_id": "p-9-0123456789abcdef", "response": "x"}, "Session p-9-0123456789abcdef not found: start one"),
    ({"session_id": "../../etc/passwd", "response": "x"}, "not found: this is not a session id"),
    ({"session_id": "p\0", "response": "x"}, "not found: this is not a session id"),
    ({**S, "respnse": "x"}, '"respnse" (did you mean response?)'),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), BAD_CONTINUE)
def test_a_bad_alc_continue_gets_one_sentence_and_takes_nothing(
    tools: "Tools", arguments: dict[str, Any], sentence: str
) -> None:
    started, refused, after = tools.calls(
        ("alc_run", {"code": ONE}), ("alc_continue", arguments), ("alc_status", {"session_id": SID})
    )

    assert sentence in _refusal(refused)
    assert _result(after) == _result(started)


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("alc_stop", {"session_id": SID, "mode": "remove"}, 'mode is "remove": use hibernate'),
        ("alc_stop", {}, "alc_stop needs session_id"),
        ("alc_status", {"session_id": SID}, "not found"),
        ("alc_status", {"include_history": True}, "its arguments are session_id, wait_s"),
        ("alc_status", {"view": "log"}, "view=log needs a session_id"),
        ("alc_status", {"session_id": SID, "view": "all"}, 'view is "all": use one of summary, prompts'),
        ("alc_status", {"session_id": SID, "limit": 3}, "limit applies to the list of sessions and to a view"),
        ("alc_status", {"limit": 0}, "limit is 0: give a whole number of at least 1"),
        ("alc_status", {"limit": 1.5}, "limit is 1.5: give a whole number"),
        ("alc_branch", {"session_id": SID, "n": True}, "n is true: give a whole number"),
        ("alc_branch", {"session_id": SID, "dry_run": "maybe"}, 'dry_run is "maybe": give true or false'),
        ("alc_branch", {"session_id": SID, "ctx": "[1]"}, "ctx is a list: give an object"),
        ("alc_erase", {}, "alc_run, alc_continue, alc_status, alc_stop, alc_branch, alc_catalog [unknown_tool]"),
    ],
)
def test_other_bad_input_gets_one_sentence(tools: "Tools", tool: str, arguments: dict[str, Any], sentence: str) -> None:
    assert sentence in _refusal(tools.call(tool, **arguments))


def test_a_fault_of_the_server_is_told_without_its_details(tools: "Tools", capfd: pytest.CaptureFixture[str]) -> None:
    text = _refusal(tools.call("alc_run", code='{"do": "break"}'))

    assert "alc_run failed by an internal error of this server (KeyError" in text
    assert "secret" not in text
    assert "secret" in capfd.readouterr().err


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pool_that_hangs_is_left_at_the_deadline(tools: "Tools", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALC_GRACE_S", "0.2")
    began_s = time.monotonic()
    text = _refusal(tools.call("alc_run", code='{"do": "hang"}', wait_s=0.1))

    assert "no answer within 0.3 s" in text
    assert "Check alc_status() before you start it again [timeout]" in text
    assert time.monotonic() - began_s < LIMIT_S / 2


def test_progress_reaches_the_host_and_only_ever_grows(tools: "Tools") -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def play() -> None:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append((progress, total, message))

        with anyio.fail_after(LIMIT_S):
            async with tools.client() as client:
                await client.call_tool("alc_run", {"code": '{"do": "progress"}'}, progress_callback=note)

    anyio.run(play)
    assert [message and message.split(" (")[0] for _, _, message in seen] == ["1/2 step 1", "2/2 step 2", "1/2 step 1"]
    values = [progress for progress, _, _ in seen]
    assert values == sorted(set(values))


def test_a_long_wait_gives_signs_of_life(tools: "Tools", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("algocline_mcp.server.tool_call.deadline.HEARTBEAT_S", 0.05)
    monkeypatch.setenv("ALC_GRACE_S", "0")
    beats: list[float] = []
    enough = anyio.Event()

    async def play() -> None:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            beats.append(progress)

            if len(beats) == 2:
                enough.set()

        with anyio.fail_after(LIMIT_S):
            async with tools.client() as client, anyio.create_task_group() as calls:
                arguments = {"code": '{"do": "hang"}', "wait_s": LIMIT_S}
                calls.start_soon(partial(client.call_tool, "alc_run", arguments, progress_callback=note))
                await enough.wait()
                calls.cancel_scope.cancel()

    anyio.run(play)
    assert len(beats) >= 2
    assert beats == sorted(set(beats))


# ── a home or a setting that does not work ────────────────────────────────────────────────────────────────


def test_a_program_that_is_not_whole_says_so_in_each_call(tools: "Tools", monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("no module named portalocker")

    monkeypatch.setattr("algocline_mcp.server.tool_call.lifespan.import_module", broken)

    told = [_refusal(reply) for reply in tools.calls(("alc_status", {}), ("alc_run", {"code": ONE}))]

    assert all("installed incompletely: no module named portalocker; install it again" in each for each in told)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ALC_HOME", "/dev/null/home", "is no directory: set ALC_HOME"),
        ("ALC_WAIT_S", "soon", "ALC_WAIT_S='soon' is not a number of at least 0: correct it or unset it"),
    ],
)
def test_what_does_not_work_is_told_by_every_tool(
    tools: "Tools", monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("alc_run", {"code": "x"}),
        ("alc_continue", {"session_id": SID, "response": "x"}),
        ("alc_status", {}),
        ("alc_status", {"session_id": SID}),
        ("alc_stop", {"session_id": SID}),
    ]

    for reply in tools.calls(*calls):
        text = _refusal(reply)
        assert sentence in text
        assert text.endswith("then restart this server [home_unusable]")


def test_a_view_is_shown_by_pages(tools: "Tools") -> None:
    code = json.dumps({"pauses": [["a"], ["b"], ["c"], ["d"]]})
    answers = [("alc_continue", {"session_id": SID, "query_id": f"q-{n}", "response": str(n)}) for n in range(3)]
    page = {"session_id": SID, "view": "history", "limit": "1", "cursor": "1"}
    shown = _result(tools.calls(("alc_run", {"code": code}), *answers, ("alc_status", page))[-1])

    assert (shown["view"], shown["total"], shown["cursor"]) == ("history", 4, "2")
    assert [turn["response"] for turn in shown["history"]] == ["1"]
