"""Lines from the host, through a real server: repaired, refused under their id, or read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.errors import whole
from algocline_mcp.front.host import LINE_MAX_BYTES
from algocline_mcp.transport import jsonrpc, lines
from tests.rig.hosts import RawServer, code_of, run_line

FRONT = (
    *("config", "config.project_root"),
    *("front", "front.host", "front.main", "front.relay", "front.resend", "front.response_cache"),
    *(
        "front.server_process",
        "front.silence",
        "transport",
        "transport.descriptors",
        "transport.jsonrpc",
        "transport.lines",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"\udc00x", "\ufffdx"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\\ud800", "\\ud800"),
        (rb"\\\ud800", "\\\ufffd"),
        (rb"\ud800\ud83d\ude00", "\ufffd\U0001f600"),
        (b"\xff", "\ufffd"),
        ("\u2028é".encode(), "\u2028é"),
    ],
)
def test_text_that_is_not_unicode_arrives_replaced_and_is_answered(
    shared: RawServer, sent: bytes, arrives: str
) -> None:
    shared.send(run_line(1, sent))

    reply = shared.line()
    assert reply["id"] == 1
    assert code_of(reply) == arrives


def test_a_duplicate_key_means_its_last_value_and_gets_one_reply(shared: RawServer) -> None:
    """As most JSON decoders do. The reader and the SDK must not take different values."""
    shared.send(
        b'{"jsonrpc":"2.0","id":20,"method":"ping","method":"tools/call","params":{"name":"none"},"params":{"name":'
        b'"alc_run","arguments":{"code":"first","code":"last"}},"id":21}\n',
        run_line(22, b"next"),
    )

    replies = [shared.line(), shared.line()]
    assert sorted((reply["id"], code_of(reply)) for reply in replies) == [(21, "last"), (22, "next")]


def test_an_over_long_line_is_refused_under_its_id_and_the_next_one_is_read(shared: RawServer) -> None:
    shared.send(run_line(9, b"x" * LINE_MAX_BYTES), run_line(10, b"short"))

    refused, answered = shared.line(), shared.line()
    assert refused["id"] == 9
    assert f"more than {LINE_MAX_BYTES} bytes" in refused["error"]["message"]
    assert code_of(answered) == "short"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (b'"code":"x","ctx":{"a":[NaN]}', "ctx contains NaN or an infinity"),
        (b'"code":"x","ctx":{"a":-Infinity}', "ctx contains NaN or an infinity"),
        (b'"code":"x","wait_s":NaN', "wait_s is NaN: give a number of seconds"),
    ],
)
def test_nan_from_the_host_is_refused(shared: RawServer, arguments: bytes, sentence: str) -> None:
    params = b'"params":{"name":"alc_run","arguments":{%s}}' % arguments
    shared.send(b'{"jsonrpc":"2.0","id":12,"method":"tools/call",%s}\n' % params)

    result = shared.line()["result"]
    assert result["isError"]
    assert sentence in result["content"][0]["text"]


@pytest.mark.slow
def test_an_endless_line_takes_no_memory(raw: RawServer) -> None:
    raw.initialize()
    raw.send(*[b"x" * LINE_MAX_BYTES] * 8, b"\n", run_line(13, b"after it"))

    assert raw.line()["id"] is None
    assert code_of(raw.line()) == "after it"
    status = Path(f"/proc/{raw.process.pid}/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib * 1024 < 5 * LINE_MAX_BYTES


def test_blank_lines_are_ignored(shared: RawServer) -> None:
    shared.send(b"\n", b"  \n", b"\r\n", run_line(11, b"still here"))

    assert code_of(shared.line()) == "still here"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', b"1"),
        (b'{"method":"tools/call","params":{"id":5},"jsonrpc":"2.0","id":2}', b"2"),
        (b'{"method":"tools/call","id":3,"params":{"x":"\\"id\\":9}"},"jsonrpc":"2.0"}', b"3"),
        (b'{"method":"notifications/initialized","params":{"id":4}}', None),
    ],
)
def test_the_id_of_a_request_is_found_at_either_end(line: bytes, expected: bytes | None) -> None:
    assert lines.edge_id(line, line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":5,"result":{}}\n', (b"5", b',"result":{}}\n')),
        (b'{"jsonrpc":"2.0","id":"a\\"\xc3\xa9","error":{"id":3}}\n', (b'"a\\"\xc3\xa9"', b',"error":{"id":3}}\n')),
        (b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}\n', None),
        (b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":5,"result":1}}\n', None),
    ],
)
def test_a_reply_is_split_at_its_id(line: bytes, expected: tuple[bytes, bytes] | None) -> None:
    assert lines.split_reply(line) == expected


@pytest.mark.parametrize("text", ["\ud800", "a\udc80é", "\U0001f600\ud83d", "\ude00\ud83d", "whole é \U0001f600"])
def test_what_is_written_and_what_is_read_become_unicode_by_one_rule(text: str) -> None:
    long = json.dumps({"text": text, "long": "x" * jsonrpc.WHOLE_BYTES}).encode()

    message = jsonrpc.message_of(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":%s}' % long)

    assert lines.writable(text).decode() == whole(text)
    assert isinstance(message, jsonrpc.Message)
    assert json.loads(message.text)["params"]["text"] == whole(text)


def test_front_starts_without_the_modules_that_only_a_rare_line_needs() -> None:
    program = "import sys, algocline_mcp.front.main; print(*sys.modules)"

    # -S: what site-packages load at a start, such as a measurement of coverage, is not counted.
    command, root = [sys.executable, "-S", "-c", program], Path(__file__).parents[2]
    imported = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout

    ours = {name for name in imported.split() if name.startswith("algocline_mcp")}
    assert "pathlib" not in imported.split()
    assert ours == {"algocline_mcp", *(f"algocline_mcp.{name}" for name in FRONT)}
