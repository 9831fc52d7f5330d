"""The protocol: lines out of any pieces, malformed JSON, requests and responses and each field that does not fit."""

import json
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.errors import ProtocolError
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest, PoolResponse, WorkerIdentity

texts = st.text(st.characters(codec=None, max_codepoint=0xE000), max_size=5)  # lone surrogates too
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
objects = st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=3)
lines_without_lf = st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"\n", b"")), max_size=5)

# ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────


def cut(stream: bytes, offsets: Iterable[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(offset for offset in offsets if offset < len(stream))})
    return [stream[start:end] for start, end in pairwise(marks)]


def feed(lines: LineBuffer, chunks: list[bytes]) -> list[bytes]:
    return [line for chunk in chunks for line in lines.feed(chunk)]


def test_unfinished_line_takes_as_much_memory_as_it_has_bytes_however_it_comes() -> None:
    size, chunk = 1 << 20, b"ab"
    lines = LineBuffer(size)
    feed(lines, [chunk])
    tracemalloc.start()
    for _ in range(size // 4):
        feed(lines, [bytes(bytearray(chunk))])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < size


@given(lines_without_lf, st.binary(max_size=5), st.lists(st.integers(0, 40)))
def test_lines_come_out_whole_at_any_chunking(sent: list[bytes], rest: bytes, offsets: list[int]) -> None:
    rest = rest.replace(b"\n", b"")
    lines = LineBuffer(6)

    got = feed(lines, cut(b"".join(line + b"\n" for line in sent) + rest, offsets))

    assert got == sent
    assert list(lines.feed(b"\n")) == [rest]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 8, 9, 100])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_line_over_the_limit_breaks_the_wire_with_or_without_its_end(chunk_bytes: int, end: bytes) -> None:
    whole, stream = b"12345678\n", b"12345678\n" + b"123456789" + end

    assert feed(LineBuffer(8), cut(whole, range(0, 100, chunk_bytes))) == [b"12345678"]
    with pytest.raises(ProtocolError, match="line longer than 8 bytes") as caught:
        feed(LineBuffer(8), cut(stream, range(0, 100, chunk_bytes)))

    assert caught.value.code == "too_large"


def test_lines_before_the_one_that_is_too_long_are_told() -> None:
    lines = LineBuffer(8).feed(b"a\n\nb\n123456789")

    assert [next(lines), next(lines), next(lines)] == [b"a", b"", b"b"]
    with pytest.raises(ProtocolError):
        next(lines)


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────


@given(objects)
def test_object_comes_back_as_it_was_in_one_ascii_line(value: dict[str, Any]) -> None:
    line = messages.encode(value)

    assert line.isascii()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert messages.decode(line) == value
    assert messages.decode(line, yields=True) == value


MALFORMED = {
    "nothing": b"",
    "no json": b"hello",
    "two objects": b"{}{}",
    "list": b"[]",
    "text": b'"a"',
    "null": b"null",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":[-Infinity]}',
    "number beyond all floats": b'{"a":1e999}',
    "5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "nested 100,000 deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "invalid UTF-8": b'{"a":"\xff"}',
    "surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "control character in a text": b'{"a":"\x01"}',
}


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_json_object_breaks_the_wire_with_a_sentence(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^malformed request: .{5,}") as caught:
        messages.decode(line)

    assert len(str(caught.value)) < 200


def test_lone_surrogate_passes_both_ways() -> None:
    assert messages.decode(b'{"a":"\\ud800"}') == {"a": "\ud800"}
    assert messages.encode({"a": "\ud800"}) == b'{"a":"\\ud800"}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_json_has_not_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        messages.encode({"a": value})


def nested(depth: int, core: Any) -> Any:
    value = core
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize("core", [1, "text", None, [], {}, [1], {"a": 1}], ids=repr)
def test_depth_counts_lists_and_objects(core: Any) -> None:
    for levels in (1, 2, 5, 50):
        value = nested(levels - isinstance(core, list | dict), core)

        assert not messages.is_deeper(value, levels)
        assert messages.is_deeper(value, levels - 1)


def test_depth_of_what_would_end_a_recursion() -> None:
    assert messages.is_deeper(nested(100_000, 1), 128)


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────

REQUEST = PoolRequest(op="continue", id=7, sid="p-1", wait_s=1.5, answers=[], mode="hibernate", version="0.1.0")
ANSWER = {"query_id": "q-0", "response": "\ud800é"}

REQUESTS = [
    REQUEST,
    PoolRequest(op="run", id=0, sid="p-1", answers=[]),
    PoolRequest(op="status", id=1, sid="", wait_s=0.0, answers=[]),
    PoolRequest(op="shutdown", id=2, sid="p-1", answers=[], mode="cancel", protocol=9),
    PoolRequest(
        op="continue",
        id=1 << 60,
        sid="p-1",
        answers=[
            ANSWER,
            {"query_id": "q-1", "refuse": "no", "usage": None, "by": None},
            {"query_id": None, "response": "", "usage": {"prompt_tokens": 3}, "by": "opus"},
        ],
    ),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.op)
def test_request_comes_back_as_it_was(request_: PoolRequest) -> None:
    assert PoolRequest.decode(request_.encode()) == request_


def test_request_may_leave_out_what_has_a_default() -> None:
    request = PoolRequest.decode(b'{"op":"run","id":1,"sid":"p-1","protocol":1}')

    assert request == PoolRequest(op="run", id=1, sid="p-1", answers=[])


def request_with(**changes: Any) -> bytes:
    raw = json.loads(REQUEST.encode()) | changes
    return json.dumps({key: value for key, value in raw.items() if value is not Ellipsis}).encode()


BAD_FIELDS: list[tuple[str, Any]] = [
    *((name, ...) for name in ("op", "id", "sid", "protocol")),
    *((name, None) for name in ("op", "id", "sid", "wait_s", "answers", "mode", "protocol", "version")),
    *((name, True) for name in ("op", "id", "sid", "wait_s", "answers", "mode", "protocol", "version")),
    *((name, {"a": 1}) for name in ("op", "id", "sid", "wait_s", "answers", "mode", "protocol", "version")),
    ("op", "dance"),
    ("op", ""),
    ("mode", "delete"),
    ("id", 1.5),
    ("id", "1"),
    ("wait_s", "1"),
    ("wait_s", -1),
    ("wait_s", 10**300),
    ("wait_s", 10**400),
    ("answers", ["a"]),
    ("answers", [None]),
    ("answers", [{}]),
    ("answers", [ANSWER, [ANSWER]]),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS, ids=lambda value: repr(value)[:16])
def test_field_of_a_request_that_does_not_fit_is_named(name: str, value: Any) -> None:
    with pytest.raises(ProtocolError, match=rf"^malformed request: .*\b{name.removesuffix('s')}"):
        PoolRequest.decode(request_with(**{name: value}))


BAD_ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("query_id", {"query_id": 1}),
    ("query_id", {"query_id": ["q-0"]}),
    ("response", {"response": 1}),
    ("response", {"response": None}),
    ("response", {"refuse": "both"}),
    ("refuse", {"response": None, "refuse": {"a": 1}}),
    ("by", {"by": 1}),
    ("usage", {"usage": []}),
    ("usage", {"usage": "many"}),
    ("usage", {"usage": {"prompt_tokens": "3"}}),
    ("usage", {"usage": {"prompt_tokens": 3.0}}),
    ("usage", {"usage": {"prompt_tokens": -3}}),
    ("usage", {"usage": {"prompt_tokens": None}}),
    ("usage", {"usage": {"completion_tokens": True}}),
    ("usage", {"usage": {"completion_tokens": 1 << 53}}),
]


@pytest.mark.parametrize(("name", "change"), BAD_ANSWERS)
def test_answer_that_could_not_be_recorded_never_passes(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match=rf"^malformed request: .*\b{name}\b"):
        PoolRequest.decode(request_with(answers=[ANSWER, ANSWER | change]))


# ── responses ─────────────────────────────────────────────────────────────────────────────────────────────

SPEAKER = WorkerIdentity(protocol=1, version="0.1.0", sid="p-1", pid=7, start_time=99)
RESPONSES = [
    (PoolResponse(1, SPEAKER, data={"kind": "feed", "feed_result": {"Running": {}}}), True, False),
    (PoolResponse(1, SPEAKER, data={"kind": "progress", "progress": {"step": 1}}), True, True),
    (PoolResponse(1, SPEAKER, data={}), True, False),
    (PoolResponse(1, SPEAKER, error="no\ud800", code="refused"), False, False),
    (PoolResponse(1, SPEAKER, error=""), False, False),
]


@pytest.mark.parametrize(("response", "is_ok", "is_progress"), RESPONSES)
def test_response_comes_back_as_it_was(response: PoolResponse, is_ok: bool, is_progress: bool) -> None:
    again = PoolResponse.decode(response.encode())

    assert again == response
    assert (again.is_ok, again.is_progress) == (is_ok, is_progress)
    assert json.loads(response.encode())["ok"] is is_ok


BAD_RESPONSES: list[tuple[str, dict[str, Any]]] = [
    *((name, {name: ...}) for name in ("id", "protocol", "version", "sid", "pid", "start_time")),
    *((name, {name: None}) for name in ("id", "protocol", "version", "sid", "pid", "start_time")),
    *((name, {name: True}) for name in ("id", "protocol", "pid", "start_time")),
    ("pid", {"pid": "7"}),
    ("sid", {"sid": 7}),
    ("data", {"data": [1]}),
    ("data", {"data": "x"}),
    ("data", {"data": None}),
    ("error", {"error": "beside data"}),
    ("error", {"data": None, "error": 5}),
]


@pytest.mark.parametrize(("name", "changes"), BAD_RESPONSES)
def test_field_of_a_response_that_does_not_fit_is_named(name: str, changes: dict[str, Any]) -> None:
    raw = json.loads(PoolResponse(1, SPEAKER, data={"kind": "feed"}).encode()) | changes
    line = json.dumps({key: value for key, value in raw.items() if value is not Ellipsis}).encode()

    with pytest.raises(ProtocolError, match=rf"^malformed re.*\b{name}\b"):
        PoolResponse.decode(line)


@pytest.mark.parametrize("around", [" {} ", "\t{}\r\n", "{} ", " {}"])
def test_white_space_around_the_object_of_another_program_is_taken(around: str) -> None:
    assert messages.decode(around.replace("{}", '{"a":[1]}').encode()) == {"a": [1]}


@pytest.mark.parametrize("line", [b"", b"  ", b"{} x", b"x {}"])
def test_line_with_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed request"):
        messages.decode(line)
