"""Arguments of tools: valid ones arrive as meant, and each invalid one is refused with one sentence."""

from typing import Any

import pytest

from tests.rig.hosts import Tools
from tests.rig.tool_replies import ONE, SID, refusal_of, result_of


@pytest.mark.parametrize(
    ("arguments", "field", "arrives"),
    [
        ({"code": {"a": 1}}, "code", '{"a": 1}'),
        ({"code": "x"}, "ctx", {}),
        ({"code": "x", "ctx": None}, "ctx", {}),
        ({"code": "x", "ctx": {"a": [None, {}]}}, "ctx", {"a": [None, {}]}),
        ({"code": "x", "ctx": '{"a":1}'}, "ctx", {"a": 1}),
        ({"code": "x", "title": "t" * 500}, "title", "t" * 119 + "…"),
        ({"code": "x", "title": None}, "title", None),
        ({"code": "x", "code_file": ""}, "code", "x"),
        ({"code": "x", "task": "t"}, "ctx", {"task": "t"}),
        ({"code": "x", "task": "", "ctx": {"task": "no", "a": 1}, "opts": '{"a": 2}'}, "ctx", {"task": "no", "a": 2}),
        ({"code": "x", "strategy": "", "opts": None, "task": None}, "ctx", {}),
        ({"code": "x"}, "name", None),
        ({"code": "x"}, "wait_s", 45.0),
        ({"code": "x", "wait_s": "0.5"}, "wait_s", 0.5),
        ({"code": "x", "wait_s": 1e9}, "wait_s", 50.0),
        ({"code": "x"}, "chunk", "strategy"),
    ],
)
def test_arguments_arrive_as_meant(tools: Tools, arguments: dict[str, Any], field: str, arrives: Any) -> None:
    assert result_of(tools.call("alc_run", **arguments))["result"][field] == arrives


@pytest.mark.parametrize("response", ["null", '{"score": 3}', "[1]", "3", "true"])
def test_a_response_arrives_letter_by_letter(tools: Tools, response: str) -> None:
    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", {"session_id": SID, "response": response}))

    assert result_of(replies[1])["result"] == [{"id": "q-0", "response": response}]


def test_a_response_that_is_not_a_string_arrives_as_its_json(tools: Tools) -> None:
    call = {"session_id": SID, "response": {"score": 3, "why": "é"}}

    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", call))
    assert result_of(replies[1])["result"] == [{"id": "q-0", "response": '{"score": 3, "why": "é"}'}]


DEEP: dict[str, Any] = {}


for _ in range(150):
    DEEP = {"a": DEEP}


BAD_RUN: list[tuple[dict[str, Any], str]] = [
    ({}, "Either `code` or `code_file` must be provided."),
    ({"code": None}, "Either `code` or `code_file` must be provided."),
    ({"code": "x", "code_file": "y"}, "Provide either `code` or `code_file`, not both."),
    ({"code": ""}, "Either `code` or `code_file` must be provided."),
    ({"code": "x", "code_file": "y", "strategy": "z"}, "Provide either `code` or `code_file` or `strategy`, not all"),
    ({"strategy": "nowhere"}, "Strategy 'nowhere' is not installed. To run a file"),
    ({"code": "x", "opts": "{"}, "opts is a string that is not JSON: give an object such as"),
    ({"code": "x", "cod_file": "y"}, 'no argument "cod_file" (did you mean code_file?): its arguments are code,'),
    ({"code": "x", "host_mode": True}, "its arguments are code, code_file, strategy, task, opts, ctx, ctx_files, "),
    ({"code": "x" * 1_048_577}, "1048577 bytes, at most 1048576: shorten"),
    ({"code": "x", "ctx": "{"}, "ctx is a string that is not JSON: give an object"),
    ({"code": "x", "ctx": "hello"}, "ctx is a string that is not JSON: give an object"),
    ({"code": "x", "ctx": [1]}, "ctx is a list: give an object"),
    ({"code": "x", "ctx": "[1]"}, "ctx is a list: give an object"),
    ({"code": "x", "ctx": 3}, "ctx is a number: give an object"),
    ({"code": "x", "ctx": True}, "ctx is a boolean: give an object"),
    ({"code": "x", "ctx": '{"a": [1e999]}'}, "NaN or an infinity"),
    ({"code": "x", "ctx": DEEP}, "more than 128 levels deep: flatten"),
    ({"code": "x", "ctx": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"}, "ctx is a text of JSON: more than"),
    ({"code": "x", "ctx": {"a": "é" * 1_100_000}}, "at most 2097152: shorten it"),
    ({"code": "x", "wait_s": -1}, "wait_s is -1: give a number of seconds, 0 or more"),
    ({"code": "x", "wait_s": "nan"}, 'wait_s is "nan": give a number of seconds'),
    ({"code": "x", "wait_s": [45]}, "wait_s is [45]: give a number of seconds"),
    ({"code": "x", "wait_s": "soon"}, 'wait_s is "soon": give a number of seconds'),
    ({"code": "x", "project_root": "/no/such/place"}, "/no/such/place is not a directory: give the absolute path"),
    ({"code": '{"do": "refuse"}'}, "ask for something else; next: call alc_run again: no answer is lost [busy]"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "sentence"), BAD_RUN)
def test_a_bad_alc_run_gets_one_sentence(tools: Tools, arguments: dict[str, Any], sentence: str) -> None:
    refused, listed = tools.calls(("alc_run", arguments), ("alc_status", {}))

    assert sentence in refusal_of(refused)
    assert result_of(listed)["active_sessions"] == 0


S = {"session_id": SID}


GOOD = {"query_id": "q-0", "response": "x"}


BAD_CONTINUE: list[tuple[dict[str, Any], str]] = [
    (S, "Either 'response' or 'responses' must be provided"),
    ({**S, "response": None}, "Either 'response' or 'responses' must be provided"),
    ({**S, "responses": []}, "Either 'response' or 'responses' must be provided"),
    ({**S, "responses": "[]"}, "Either 'response' or 'responses' must be provided"),
    ({**S, "responses": "nonsense"}, "responses is a string that is not JSON: give a list"),
    ({**S, "responses": 3}, "responses is a number: give a list"),
    ({**S, "responses": ["yes"]}, "an item of responses is a string: give an object"),
    ({**S, "responses": [{"response": "x"}]}, "has no query_id: name the prompt"),
    ({**S, "responses": [{"query_id": "q-0"}]}, "needs either a response, which is not empty, or refuse"),
    ({**S, "responses": [{"query_id": "q-0", "respnse": "x"}]}, 'no field "respnse": its fields are query_id'),
    ({**S, "responses": [{**GOOD, "refuse": "y"}]}, "either a response, which is not empty, or refuse"),
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
    ({"session_id": "p\0", "response": "x"}, "with a NUL character"),
    ({**S, "respnse": "x"}, '"respnse" (did you mean response?)'),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "sentence"), BAD_CONTINUE)
def test_a_bad_alc_continue_gets_one_sentence_and_takes_nothing(
    tools: Tools, arguments: dict[str, Any], sentence: str
) -> None:
    started, refused, after = tools.calls(
        ("alc_run", {"code": ONE}), ("alc_continue", arguments), ("alc_status", {"session_id": SID})
    )

    assert sentence in refusal_of(refused)
    assert result_of(after) == result_of(started)


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
def test_other_bad_input_gets_one_sentence(tools: Tools, tool: str, arguments: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal_of(tools.call(tool, **arguments))
