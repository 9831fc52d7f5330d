"""Messages of an engine: an invalid message is a ProtocolError, a message that is too large gets a sentence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.errors import ProtocolError
from algocline_mcp.worker.engine import messages
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log, Message, parse, problem_of
from tests.session import histories
from tests.session.histories import query

LIMITS = histories.LIMITS | {"prompt_bytes": 400}


def parsed(value: Any) -> Message:
    return parse(json.dumps(value).encode(), json_depth=8)


GOOD: list[tuple[dict[str, Any], Message]] = [
    ({"op": "ask", "queries": [query("p")]}, Ask((query("p"),))),
    ({"op": "ask", "queries": [query("p", "s"), query("")]}, Ask((query("p", "s"), query("")))),
    ({"op": "ask", "queries": [{"prompt": "p", "max_tokens": 5}]},
     Ask(({"prompt": "p", "system": None, "max_tokens": 5},))),
    ({"op": "ask", "queries": [query("p", grounded=True, model="m", temperature=0.5, n=3)]},
     Ask((query("p", grounded=True, model="m", temperature=0.5, n=3),))),
    ({"op": "ask", "queries": [query("p", id="q-9", query_id="q-9", digest="d", stream="7", op="end")]},
     Ask((query("p"),))),
    ({"op": "call", "name": "time", "args": []}, Call("time", ())),
    ({"op": "call", "name": "module", "args": ["m"]}, Call("module", ("m",))),
    ({"op": "fork", "strategies": ["a", "b_2"], "ctx": {"k": [1]}, "on_error": "fail"},
     Fork(("a", "b_2"), {"k": [1]}, "fail")),
    ({"op": "log", "level": "info", "message": "m\ud800"}, Log({"level": "info", "message": "m\ud800"})),
    ({"op": "log", "level": "info", "message": "phase: p", "phase": "p"},
     Log({"level": "info", "message": "phase: p", "phase": "p"})),
    ({"op": "log", "level": "info", "message": "m", "progress": {"step": 1}},
     Log({"level": "info", "message": "m"})),
    ({"op": "progress", "step": 1, "total": 5, "message": None},
     Log({"progress": {"step": 1, "total": 5, "message": None}})),
    ({"op": "progress", "step": 1, "total": 5}, Log({"progress": {"step": 1, "total": 5, "message": None}})),
    ({"op": "end", "result": None}, End({"result": None})),
    ({"op": "end", "result": {"a": [1]}}, End({"result": {"a": [1]}})),
    ({"op": "end", "error": "e"}, End({"error": "e"})),
    ({"op": "end", "error": "e", "result": 1}, End({"error": "e"})),
]  # fmt: skip


@pytest.mark.parametrize(("value", "message"), GOOD)
def test_message_is_parsed(value: dict[str, Any], message: Message) -> None:
    assert parsed(value) == message


@pytest.mark.parametrize(("value", "message"), GOOD)
def test_message_with_one_broken_field_is_refused_or_of_the_same_type(value: dict[str, Any], message: Message) -> None:
    """Breaks each field alone: `parse` raises ProtocolError or returns a message of the same type."""
    for name in value:
        for wrong in (None, True, 1, 1.5, "x", [], {}, [1], {"a": 1}):
            changed = value | {name: wrong}
            try:
                result = parsed(changed)
            except ProtocolError:
                continue
            assert type(result) is type(message) or name == "op"


BAD: dict[str, Any] = {
    "no op": {},
    "unknown op": {"op": "shout"},
    "op that is no text": {"op": ["ask"]},
    "ask without queries": {"op": "ask"},
    "ask of nothing": {"op": "ask", "queries": []},
    "queries that are no list": {"op": "ask", "queries": {"prompt": "p"}},
    "query that is no object": {"op": "ask", "queries": ["p"]},
    "second query that is none": {"op": "ask", "queries": [query("p"), None]},
    "prompt missing": {"op": "ask", "queries": [{"system": None, "max_tokens": 5}]},
    "prompt no text": {"op": "ask", "queries": [query("p") | {"prompt": 1}]},
    "system no text": {"op": "ask", "queries": [query("p") | {"system": 1}]},
    "max_tokens missing": {"op": "ask", "queries": [{"prompt": "p"}]},
    "max_tokens a fraction": {"op": "ask", "queries": [query("p") | {"max_tokens": 1.5}]},
    "max_tokens a truth": {"op": "ask", "queries": [query("p") | {"max_tokens": True}]},
    "option a list": {"op": "ask", "queries": [query("p", stop=["x"])]},
    "option an object": {"op": "ask", "queries": [query("p", form={"a": 1})]},
    "option null": {"op": "ask", "queries": [query("p", model=None)]},
    "call without a name": {"op": "call", "args": []},
    "call without arguments": {"op": "call", "name": "time"},
    "arguments no list": {"op": "call", "name": "time", "args": {}},
    "log without a level": {"op": "log", "message": "m"},
    "log without a message": {"op": "log", "level": "info"},
    "log of no text": {"op": "log", "level": "info", "message": 1},
    "progress without a step": {"op": "progress", "total": 5},
    "progress with a fraction": {"op": "progress", "step": 1.5, "total": 5},
    "progress without a total": {"op": "progress", "step": 1},
    "progress with no text": {"op": "progress", "step": 1, "total": 5, "message": 7},
    "function with a long name": {"op": "call", "name": "n" * 65, "args": []},
    "nine arguments": {"op": "call", "name": "time", "args": [1] * 9},
    "unknown level": {"op": "log", "level": "loud", "message": "m"},
    "long log line": {"op": "log", "level": "info", "message": "m" * ((1 << 17) + 1)},
    "long progress": {"op": "progress", "step": 1, "total": 2, "message": "m" * ((1 << 17) + 1)},
    "many warnings": {"op": "end", "result": 1, "warnings": ["w"] * 65},
    "long warnings": {"op": "end", "error": "e", "warnings": ["w" * (1 << 20)]},
    "end with nothing": {"op": "end"},
    "end with no text": {"op": "end", "error": {"a": 1}},
    "end with null as error": {"op": "end", "error": None},
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_invalid_message_is_a_protocol_error(value: Any) -> None:
    with pytest.raises(ProtocolError, match=r"^engine "):
        parsed(value)


LINES = {
    "no json": b"hello",
    "no object": b"[1]",
    "NaN": b'{"op":"end","result":NaN}',
    "number beyond all floats": b'{"op":"end","result":1e999}',
    "infinite option": b'{"op":"ask","queries":[{"prompt":"p","max_tokens":1,"temperature":-1e999}]}',
    "invalid UTF-8": b'{"op":"end","result":"\xff"}',
    "nested 100,000 deep": b'{"op":"end","result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "5,000 digits": b'{"op":"progress","step":' + b"9" * 5000 + b',"total":1}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_line_that_is_not_a_message_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(line, json_depth=128)


@given(st.binary(max_size=30) | st.binary(max_size=20).map(lambda raw: b'{"op":"end","result":' + raw + b"}"))
def test_any_bytes_are_a_message_or_a_protocol_error(line: bytes) -> None:
    try:
        message = parse(line, json_depth=128)
    except ProtocolError:
        return
    assert isinstance(message, Ask | Call | Log | End)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_result_may_nest_as_deep_as_the_limit_and_not_much_deeper() -> None:
    parsed({"op": "end", "result": _nested(8)})

    with pytest.raises(ProtocolError, match="nested over 8 levels"):
        parsed({"op": "end", "result": _nested(11)})


@pytest.mark.parametrize("name", ["max_tokens", "other"])
def test_number_of_a_query_has_at_most_64_bits(name: str) -> None:
    parsed({"op": "ask", "queries": [{**query("p"), name: (1 << 63) - 1}]})

    with pytest.raises(ProtocolError):
        parsed({"op": "ask", "queries": [{**query("p"), name: 1 << 63}]})


# ── too large ─────────────────────────────────────────────────────────────────────────────────────────────

FRAME = len('{"prompt":"","system":null,"max_tokens":1024}')
OVER = "bytes with its options, at most 400: ask in parts"
LARGE: list[tuple[Message, str]] = [
    (Ask((query("p"),) * 5), "alc.llm: 5 prompts at once, at most 4: ask in parts"),
    (Ask((query("x" * (401 - FRAME)),)), f"alc.llm: prompt of 401 {OVER}"),
    (Ask((query("x" + "\n" * (400 - FRAME)),)), f"alc.llm: prompt of 401 {OVER}"),
    (Ask((query("x" * 200), query("x" * (205 - 2 * FRAME)))), f"alc.llm: prompt of 405 {OVER}"),
    (Ask(({**query("x"), "o" * 350: True},)), f"alc.llm: prompt of {FRAME + 1 + 350 + 8} {OVER}"),
    (Ask(({**query("x"), **{f"o{n}": n for n in range(10, 70)}},)), f"alc.llm: prompt of {FRAME + 1 + 60 * 9} {OVER}"),
    (Fork(("x" * 2000,), {}, "skip"), "alc.fork: a name of 2000 bytes, at most KEY: use a shorter one"),
    (Fork(("x",), {"x": "é" * 60}, "skip"), "alc.fork: ctx of 128 bytes as JSON, at most 100: make it smaller"),
    (Call("env", ("x" * 2000,)), "alc.env: an argument of 2000 bytes, at most KEY: use a shorter one"),
    (Call("module", ("x" * 2000,)), "alc.module: an argument of 2000 bytes, at most KEY: use a shorter one"),
    (Call("card.get", ("x" * 2000,)), "alc.card.get: an argument of 2000 bytes, at most KEY: use a shorter one"),
    (
        Call("card.list", ({"pkg": "x" * 400},)),
        "alc.card.list: an argument of 410 bytes, at most 400: use a shorter one",
    ),
    (
        End({"result": "x" * 100}),
        "result of 114 bytes as JSON in ASCII, at most 100 (ALC_RESULT_BYTES): return less of it, no answer is lost",
    ),
]


@pytest.mark.parametrize(("message", "sentence"), LARGE)
def test_message_over_a_limit_gets_a_sentence(message: Message, sentence: str) -> None:
    assert problem_of(message, LIMITS) == sentence.replace("KEY", str(LIMITS["state_key_bytes"]))


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u00a0\u3000"])
def test_prompt_that_asks_nothing_gets_a_sentence(blank: str) -> None:
    alone, item = Ask((query(blank, "system"),)), Ask((query("p"), query(blank)))

    assert str(problem_of(alone, LIMITS)).startswith("alc.llm: the prompt is empty: say what the model shall do, as in")
    assert str(problem_of(item, LIMITS)).startswith("alc.llm: item 2: the prompt is empty: ")


SMALL: list[Message] = [
    Ask((query("p"),) * 4),
    Ask((query("x" * (400 - FRAME)),)),
    Ask((query('"\n\x01' * ((400 - FRAME) // 3)),)),
    Fork(("x" * 100,), {"x": "\n" * 92}, "skip"),
    End({"result": "x" * 86}),
    End({"error": "x" * 500}),
    Call("module", ("x" * 100,)),
    Log({"level": "info", "message": "x" * 500}),
]


@pytest.mark.parametrize("message", SMALL)
def test_message_within_its_limits_has_no_sentence(message: Message) -> None:
    assert messages.problem_of(message, LIMITS) is None


BAD_FORKS: dict[str, dict[str, Any]] = {
    "nothing": {"strategies": []},
    "name that is code": {"strategies": ["a') os.exit('"]},
    "name with a dot": {"strategies": ["a.b"]},
    "name with a line feed": {"strategies": ["a\n"]},
    "name that is no text": {"strategies": [1]},
    "ctx without names": {"ctx": [1]},
    "mode of upstream": {"on_error": "abort"},
}


@pytest.mark.parametrize("name", BAD_FORKS)
def test_fork_of_anything_but_named_packages_is_a_protocol_error(name: str) -> None:
    with pytest.raises(ProtocolError):
        parsed({"op": "fork", "strategies": ["a"], "ctx": {}, "on_error": "skip", **BAD_FORKS[name]})


def test_ctx_of_a_fork_has_a_limit() -> None:
    assert problem_of(Fork(("a",), {"k": "x" * 80}, "skip"), LIMITS) is None
    assert problem_of(Fork(("a",), {"k": "x" * 100}, "skip"), LIMITS) is not None


@pytest.mark.parametrize("outcome", [{"result": "x" * 50}, {"error": "x" * 50}])
def test_results_of_all_children_of_one_fork_have_a_common_limit(outcome: dict[str, Any]) -> None:
    assert problem_of(End(outcome), LIMITS) is None
    assert "beside 60 of other children" in str(problem_of(End(outcome), LIMITS, ends_bytes=60))
