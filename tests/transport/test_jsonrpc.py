"""What is wrong with a line of the host: the kinds, their replies, and what they cost."""

import json
import time
from typing import Any

import pytest

from algocline_mcp.transport.jsonrpc import (
    BARE_MAX_BYTES,
    DEPTH_MAX,
    TEXTS_MAX_BYTES,
    VALUES_MAX,
    WHOLE_BYTES,
    Message,
    Problem,
    costly,
    message_of,
    replies,
    report,
)
from tests.rig.hosts import LIMIT_S, RawServer, code_of, run_line

PING = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'
MIB = 2**20


def problem_of(line: bytes) -> Problem | None:
    message = message_of(line)
    return message if isinstance(message, Problem) else None


# line, code, ids, part of the reason
WRONG: dict[str, tuple[bytes, int, list[Any], str]] = {
    "text": (b"hello", -32700, [None], "not JSON"),
    "NUL": (b"\0\1", -32700, [None], "not JSON"),
    "NUL in a text": (b'{"jsonrpc":"2.0","id":7,"method":"a\0b"}', -32700, [7], "not JSON"),
    "half a message": (PING[:-1], -32700, [7], "not JSON"),
    "two messages": (PING + PING, -32700, [7], "not JSON"),
    "single quotes": (b"{'jsonrpc':'2.0','id':7}", -32700, [None], "not JSON"),
    "trailing comma": (b'{"jsonrpc":"2.0","id":"a","method":"ping",}', -32700, ["a"], "not JSON"),
    "header": (b"Content-Length: 40\r", -32700, [None], "Content-Length headers are not read"),
    "message and header": (PING + b"Content-Length: 40\r", -32700, [7], "not JSON"),
    "UTF-16": (b"\xff\xfe" + PING.decode().encode("utf-16-le"), -32700, [None], "UTF-16"),
    "UTF-16 without a mark": (PING.decode().encode("utf-16-le"), -32700, [None], "UTF-16"),
    "batch": (b"[%s,%s]" % (PING, PING.replace(b"7", b'"x"')), -32600, [7, "x"], "batches are not read"),
    "empty batch": (b"[]", -32600, [None], "batches are not read"),
    "number": (b"5", -32600, [None], "the message is a number"),
    "null": (b"null", -32600, [None], "the message is null"),
    "string": (b'"ping"', -32600, [None], "the message is a string"),
    "empty object": (b"{}", -32600, [None], '"jsonrpc": "2.0"'),
    "no method": (b'{"jsonrpc":"2.0","id":7}', -32600, [7], "no method"),
    "method of a wrong type": (b'{"jsonrpc":"2.0","id":7,"method":5}', -32600, [7], "method is a number"),
    "no version": (b'{"id":7,"method":"ping"}', -32600, [7], '"jsonrpc": "2.0"'),
    "other version": (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, [7], '"jsonrpc": "2.0"'),
    "version as a number": (b'{"jsonrpc":2.0,"id":7,"method":"ping"}', -32600, [7], '"jsonrpc": "2.0"'),
    "id null": (PING.replace(b"7", b"null"), -32600, [None], "id is null"),
    "id with a fraction": (PING.replace(b"7", b"1.5"), -32600, [None], "id is a number with a fraction"),
    "id true": (PING.replace(b"7", b"true"), -32600, [None], "id is a boolean"),
    "id object": (PING.replace(b"7", b"{}"), -32600, [None], "id is an object"),
    "params list": (PING[:-1] + b',"params":[1]}', -32600, [7], "params is a list"),
    "params string": (PING[:-1] + b',"params":"x"}', -32600, [7], "params is a string"),
    "reply of a wrong version": (b'{"id":7,"result":{}}', -32600, [], "a reply"),
    "levels": (PING[:-1] + b',"params":' + b'{"a":' * 300 + b"1" + b"}" * 301, -32600, [7], f"{DEPTH_MAX} levels"),
    "digits": (PING[:-1] + b',"params":{"a":%s}}' % (b"9" * 5000), -32600, [7], "digits"),
    "values": (PING[:-1] + b',"params":{"a":[1%s]}}' % (b",1" * VALUES_MAX), -32600, [7], f"{VALUES_MAX} values"),
    "blanks": (PING[:-1] + b" " * BARE_MAX_BYTES + b"}", -32600, [7], "outside of its texts"),
    "texts": (b'{"jsonrpc":"2.0","id":7,"method":"%s"}' % (b"x" * TEXTS_MAX_BYTES + b"x"), -32600, [7], "texts of the"),
    "names": (PING[:-1] + b',"params":{%s}}' % b",".join([b'"k":1'] * VALUES_MAX), -32600, [7], "values"),
}  # fmt: skip

RIGHT = {
    "request": PING,
    "spaces": b" " + PING + b"\r",
    "id of text": PING.replace(b"7", rb'"a\"b"'),
    "notification": b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    "notification with id null": b'{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}',
    "params null": PING[:-1] + b',"params":null}',
    "reply": b'{"jsonrpc":"2.0","id":7,"result":{}}',
    "error": b'{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"x"}}',
    "invalid UTF-8, which is repaired": PING[:-1] + b',"params":{"a":"\xff"}}',
    "half a surrogate pair, which is repaired": PING[:-1] + rb',"params":{"a":"\ud800"}}',
    "brackets in texts": PING[:-1] + b',"params":{"a":"%s"}}' % (b"[{" * 400_000),
    "digits in texts": PING[:-1] + b',"params":{"a":"%s"}}' % (b"9" * 200_000),
    "commas in texts": PING[:-1] + b',"params":{"a":"%s"}}' % (b"a, b: " * 400_000),
    "a long escaped text": PING[:-1] + b',"params":{"a":"%s"}}' % (rb"\n\"\\\u00e9" * 100_000),
    "escapes that are short decoded": PING[:-1] + b',"params":{"a":"%s"}}' % (rb"\u00e9" * (2 * MIB)),
    "as many values as allowed": PING[:-1] + b',"params":{"a":[1%s]}}' % (b",1" * (VALUES_MAX - 20)),
}
LONG_WRONG = {
    "no end of a text": PING[:-1] + b',"params":{"a":"' + b"x" * WHOLE_BYTES,
    "bad escape in a long text": PING[:-1] + b',"params":{"a":"%s\\x"}}' % (b"x" * WHOLE_BYTES),
    "control character in a long text": PING[:-1] + b',"params":{"a":"%s\1"}}' % (b"x" * WHOLE_BYTES),
}


@pytest.mark.parametrize(("line", "code", "ids", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_line_is_refused_with_its_code_and_ids(line: bytes, code: int, ids: list[Any], reason: str) -> None:
    problem = problem_of(line)

    assert problem is not None
    assert reason in problem.reason
    sent = [json.loads(reply) for reply in replies(problem).splitlines()]
    assert [(reply["id"], reply["error"]["code"]) for reply in sent] == [(number, code) for number in ids]
    assert report(line, problem).isprintable()
    assert len(report(line, problem)) < 500


@pytest.mark.parametrize("line", RIGHT.values(), ids=RIGHT)
def test_right_line_is_read(line: bytes) -> None:
    assert problem_of(line) is None


@pytest.mark.parametrize("line", LONG_WRONG.values(), ids=LONG_WRONG)
def test_long_line_that_is_not_json_is_refused_under_its_id(line: bytes) -> None:
    problem = problem_of(line)

    assert problem is not None
    assert (problem.code, problem.ids) == (-32700, (7,))


HOSTILE = {
    "values": PING[:-1] + b',"params":{"a":[1%s]}}' % (b",1" * (15 * MIB)),
    "objects": PING[:-1] + b',"params":{"a":[%s]}}' % (b'{"query_id":"q","response":"x"},' * MIB),
    "levels": b'{"a":' + b"[" * (31 * MIB),
    "ends": b"]" * (31 * MIB),
    "quotes": b'"' * (31 * MIB),
    "quotes and spaces": b'" ' * (15 * MIB),
    "backslashes": b'"' + b"\\" * (31 * MIB),
    "blanks": PING + b" " * (31 * MIB) + b"x",
    "escapes of Unicode": PING[:-1] + b',"params":{"a":"%s"}}' % (rb"\ud800" * (5 * MIB)),
    "not UTF-8": PING[:-1] + b',"params":{"a":"%s"}}' % (b"\xff" * (31 * MIB)),
    "escapes": PING[:-1] + b',"params":{"a":"%s"}}' % (rb"\n" * (15 * MIB)),
}


@pytest.mark.slow
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_hostile_line_is_judged_in_bounded_time(line: bytes) -> None:
    began_s = time.process_time()
    problem_of(line)

    assert time.process_time() - began_s < 20  # 0.02 to 1 s; without the limits of values and texts up to 47 s


_FILL = b"x" * WHOLE_BYTES
REPAIRED: dict[str, tuple[bytes, str]] = {
    "half of a pair": (rb"\ud800", "\ufffd"),
    "the other half": (rb"\udc00x", "\ufffdx"),
    "a pair": (rb"\ud83d\ude00", "\U0001f600"),
    "half before a pair": (rb"\ud800\ud83d\ude00", "\ufffd\U0001f600"),
    "an escaped backslash": (rb"\\ud800", "\\ud800"),
    "a backslash before half": (rb"\\\ud800", "\\\ufffd"),
    "a byte that is not UTF-8": (b"\xff", "\ufffd"),
    "other escapes": (rb"\u0000\u0022\u005c\n\/\u00e9", '\0"\\\n/é'),
    "emoji": ("😀é語".encode() * 5000, "😀é語" * 5000),
    "pairs": (rb"\ud83d\ude00" * 2000, "\U0001f600" * 2000),
    "runs and escapes": ((b"a" * 4095 + rb"\u00e9") * 300, ("a" * 4095 + "é") * 300),
}


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize(("sent", "arrives"), REPAIRED.values(), ids=REPAIRED)
def test_long_line_arrives_repaired_wherever_its_pieces_end(sent: bytes, arrives: str, shift: int) -> None:
    fill = _FILL + b"y" * shift

    message = message_of(PING[:-1] + b',"params":{"a":"%s","%s":["%s",1]}}' % (fill + sent, sent, sent))

    assert isinstance(message, Message)
    assert json.loads(message.text)["params"] == {"a": fill.decode() + arrives, arrives: [arrives, 1]}


def test_escapes_of_a_long_line_are_resolved_before_the_sdk_decodes_it() -> None:
    """The SDK decodes on the event loop: 30 MB of escapes held it for 0.2 s."""
    message = message_of(PING[:-1] + b',"params":{"a":"%s"}}' % (rb"\u00e9" * MIB))

    assert isinstance(message, Message)
    assert len(message.text) < MIB + 100


def test_cost_of_json_in_a_text_is_judged_as_a_line_is() -> None:
    assert costly("[1, 2]") is None
    assert "levels" in str(costly("[" * 300))
    assert "values" in str(costly("[1" + ",1" * VALUES_MAX + "]"))


# ── through a real server ─────────────────────────────────────────────────────────────────────────────────


def test_every_wrong_line_is_answered_and_the_next_one_is_served(shared: RawServer) -> None:
    for line, code, ids, reason in WRONG.values():
        if b"\n" in line or not ids:
            continue
        shared.send(line + b"\n")
        for number in ids:
            reply = shared.line()
            assert (reply["id"], reply["error"]["code"]) == (number, code)
            assert reason in reply["error"]["message"]
    shared.send(run_line(11, b"still here"))

    assert code_of(shared.line()) == "still here"


def test_byte_order_mark_is_taken_off(shared: RawServer) -> None:
    shared.send(b"\xef\xbb\xbf" + run_line(12, b"marked"))

    assert code_of(shared.line()) == "marked"


def test_each_kind_of_wrong_line_is_on_stderr_once_and_cannot_command_a_terminal(raw: RawServer) -> None:
    lines = [b"\x1b]52;c;eA==\x07\n", b"again\n", b"Content-Length: 3\r\n", PING.replace(b"7", b"null") + b"\n"]
    _, err = raw.process.communicate(b"".join(lines), timeout=LIMIT_S)

    text = err.decode("ascii")
    assert len(text.splitlines()) == 3
    assert text.count("is not JSON") == 1
    assert r"b'\x1b]52;c;eA==\x07'" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("given", [b"", b"\n", b" \r\n\n"])
def test_end_of_input_before_a_line_names_the_cure(raw: RawServer, given: bytes) -> None:
    out, err = raw.process.communicate(given, timeout=LIMIT_S)

    assert (raw.process.returncode, out) == (0, b"")
    assert err.count(b"\n") == 1
    assert b"docker run -i" in err


@pytest.mark.slow
def test_separators_of_lines_leave_escaped(shared: RawServer) -> None:
    shared.send(run_line(13, "a\u2028b\u2029c\u0085d".encode()))
    assert shared.process.stdout is not None

    line = shared.process.stdout.readline()
    assert line.isascii()
    assert code_of(json.loads(line)) == "a\u2028b\u2029c\u0085d"
