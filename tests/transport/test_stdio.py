"""The wire to the host, with real pipes and a real process: what goes in, what comes out, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from algocline_mcp.transport import lines
from algocline_mcp.transport.output import Output, Unanswered
from algocline_mcp.transport.response_cache import ResponseCache
from algocline_mcp.transport.stdio import HOST_LINE_MAX_BYTES
from tests.rig.hosts import RawServer

LIMIT_S = 60.0  # nothing here takes as long, on a busy machine neither; a test that hangs fails after it
QUICK_S = 5.0  # of what takes 50 ms on an idle machine


def _run_line(number: int, code: bytes) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"alc_run","arguments":{"code":"%s"}}}\n'
        % (number, code)
    )


def _prompt(reply: dict[str, Any]) -> str:
    text: str = reply["result"]["structuredContent"]["result"]["code"]
    return text


# ── input ─────────────────────────────────────────────────────────────────────────────────────────────────


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
def test_what_is_no_unicode_arrives_replaced_and_is_answered(shared: RawServer, sent: bytes, arrives: str) -> None:
    shared.send(_run_line(1, sent))

    reply = shared.line()
    assert reply["id"] == 1
    assert _prompt(reply) == arrives


@pytest.mark.parametrize(
    ("line", "number", "reason"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":' + b'{"a":' * 300 + b"1" + b"}" * 301, 7, "levels"),
        (b'{"method":"x","params":{"a":' + b"[" * 300 + b"]" * 300 + b'},"jsonrpc":"2.0","id":"a"}', "a", "levels"),
        (b'{"jsonrpc":"2.0","id":8,"method":"x","params":{"a":' + b"9" * 5000 + b"}}", 8, "digits"),
    ],
)  # fmt: skip
def test_what_the_sdk_cannot_decode_is_refused_under_its_id(
    shared: RawServer, line: bytes, number: int | str, reason: str
) -> None:
    shared.send(line + b"\n")

    reply = shared.line()
    assert reply["id"] == number
    assert reason in reply["error"]["message"]


def test_a_key_that_stands_twice_means_its_last_value_and_gets_one_reply(shared: RawServer) -> None:
    """As JSON is read by most: what counts is that nobody here takes one and somebody else the other."""
    shared.send(
        b'{"jsonrpc":"2.0","id":20,"method":"ping","method":"tools/call","params":{"name":"none"},"params":{"name":'
        b'"alc_run","arguments":{"code":"first","code":"last"}},"id":21}\n',
        _run_line(22, b"next"),
    )

    replies = [shared.line(), shared.line()]
    assert sorted((reply["id"], _prompt(reply)) for reply in replies) == [(21, "last"), (22, "next")]


def test_an_over_long_line_is_refused_under_its_id_and_the_next_one_is_read(shared: RawServer) -> None:
    shared.send(_run_line(9, b"x" * HOST_LINE_MAX_BYTES), _run_line(10, b"short"))

    refused, answered = shared.line(), shared.line()
    assert refused["id"] == 9
    assert f"more than {HOST_LINE_MAX_BYTES} bytes" in refused["error"]["message"]
    assert _prompt(answered) == "short"


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


def test_an_endless_line_takes_no_memory(raw: RawServer) -> None:
    raw.initialize()
    raw.send(*[b"x" * HOST_LINE_MAX_BYTES] * 8, b"\n", _run_line(13, b"after it"))

    assert _prompt(raw.line()) == "after it"
    status = Path(f"/proc/{raw.process.pid}/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib * 1024 < 5 * HOST_LINE_MAX_BYTES


def test_noise_between_the_lines_is_passed_over(shared: RawServer) -> None:
    shared.send(b"\n", b"no json\n", b"\x00\x01\n", b"  \n", _run_line(11, b"still here"))

    assert _prompt(shared.line()) == "still here"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', b"1"),
        (b'{"method":"tools/call","params":{"id":5},"jsonrpc":"2.0","id":2}', b"2"),
        (b'{"method":"tools/call","id":3,"params":{"x":"\\"id\\":9}"},"jsonrpc":"2.0"}', b"3"),
        (b'{"method":"notifications/initialized","params":{"id":4}}', None),
        (b'{"jsonrpc":"2.0","id":5,"result":{}}', None),
    ],
)
def test_the_id_of_a_request_is_found_at_either_end(line: bytes, expected: bytes | None) -> None:
    assert lines.request_id(line) == expected


# ── output ────────────────────────────────────────────────────────────────────────────────────────────────


def test_half_a_surrogate_pair_in_a_result_reaches_the_host_replaced(shared: RawServer) -> None:
    shared.call(20, "alc_run", {"code": '{"do": "spoil"}'})

    result = shared.line()["result"]
    assert result["structuredContent"]["result"] == {"half": "\ufffdx", "nan": None}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


def test_stray_output_goes_to_stderr_and_stdin_is_empty(raw: RawServer) -> None:
    raw.initialize()
    raw.call(21, "alc_run", {"code": '{"do": "print"}'})

    assert raw.line()["result"]["structuredContent"]["result"] == {"stdin": ""}
    _, err = raw.process.communicate(timeout=LIMIT_S)
    assert {"stray words", "more of them", "and of a child"} <= set(err.decode().splitlines())


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_the_writer_repairs_waits_for_a_slow_reader_and_notices_one_that_is_gone(kind: str) -> None:
    if kind == "pipe":
        theirs, ours = os.pipe()
    else:
        reading, writing = socket.socketpair()
        writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # full before the writer has had its turn
        theirs, ours = reading.detach(), writing.detach()
    gone: list[bool] = []
    output = Output(ours, Unanswered(), ResponseCache(None), on_gone=lambda: gone.append(True))
    text = "\ud800" + "é" * 1_000_000 + "\n"

    async def play() -> bytes:
        received = b""
        async with anyio.create_task_group() as group:
            group.start_soon(output.write, text)
            await anyio.wait_all_tasks_blocked()  # the loop goes on although nobody reads
            while not received.endswith(b"\n"):
                received += await anyio.to_thread.run_sync(os.read, theirs, 1 << 20)
        assert not gone
        os.close(theirs)
        await output.write("to nobody\n")
        return received

    received = anyio.run(play)
    output.close()
    assert received.decode() == text.replace("\ud800", "\ufffd")
    assert gone


def test_a_host_that_reads_late_gets_long_replies_whole_and_in_order(shared: RawServer) -> None:
    shared.call(30, "alc_run", {"code": "x" * 400_000})
    shared.call(31, "alc_run", {"code": "y" * 400_000})

    replies = {reply["id"]: reply for reply in (shared.line(), shared.line())}
    assert _prompt(replies[30]) == "x" * 400_000
    assert _prompt(replies[31]) == "y" * 400_000


def test_a_host_that_stopped_reading_ends_the_server_quietly(raw: RawServer) -> None:
    raw.initialize()
    assert raw.process.stdout is not None
    raw.process.stdout.close()
    raw.call(1, "alc_status", {})

    assert raw.process.wait(LIMIT_S) == 0
    assert raw.process.stderr is not None
    assert raw.process.stderr.read() == b""


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────


def test_end_of_input_with_nothing_asked_ends_at_once(raw: RawServer) -> None:
    out, err = raw.process.communicate(b"", timeout=LIMIT_S)

    assert (raw.process.returncode, out, err) == (0, b"", b"")


def test_end_of_input_does_not_wait_for_the_sdk(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "algocline_mcp"],
        input=b"",
        env=environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )

    imported = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines()}
    assert b"algocline_mcp.transport.stdio" in imported
    assert b"mcp.server" not in imported


def test_what_was_asked_before_the_end_of_input_is_answered(raw: RawServer) -> None:
    out, _ = raw.process.communicate(raw.INITIALIZE + _run_line(1, b"last words"), timeout=LIMIT_S)

    replies = [json.loads(line) for line in out.splitlines()]
    assert raw.process.returncode == 0
    assert [reply["id"] for reply in replies] == [0, 1]
    assert _prompt(replies[1]) == "last words"


def test_what_was_asked_before_the_sdk_was_there_gets_the_time_that_it_needs(environment: dict[str, str]) -> None:
    raw = RawServer(environment | {"ALC_GRACE_S": "0"})
    line = _run_line(1, rb"{\"do\": \"hang\"}").replace(b'"arguments":{', b'"arguments":{"wait_s":2,')
    out, _ = raw.process.communicate(raw.INITIALIZE + line, timeout=LIMIT_S)
    raw.close()

    (_, last) = [json.loads(line) for line in out.splitlines()]
    assert "no answer within 2 s" in last["result"]["content"][0]["text"]


def test_a_call_that_never_ends_keeps_no_server_alive_after_the_end_of_input(raw: RawServer) -> None:
    raw.initialize()
    raw.call(1, "alc_run", {"code": '{"do": "hang"}', "wait_s": 600})
    assert raw.process.stdin is not None
    began_s = time.monotonic()
    raw.process.stdin.close()

    assert raw.process.wait(LIMIT_S) == 0
    assert time.monotonic() - began_s < QUICK_S


def test_a_reply_that_nobody_reads_keeps_no_server_alive_after_the_end_of_input(raw: RawServer) -> None:
    raw.initialize()
    raw.call(1, "alc_run", {"code": "x" * 400_000})
    assert raw.process.stdin is not None
    raw.process.stdin.close()

    assert raw.process.wait(LIMIT_S) == 0


def _at_once(raw: RawServer) -> None:
    """Python itself has started, and no more: the handlers stand as soon as descriptor 0 is claimed."""
    target = Path(f"/proc/{raw.process.pid}/fd/0")
    deadline_s = time.monotonic() + LIMIT_S
    while str(target.readlink()) != "/dev/null":
        assert time.monotonic() < deadline_s


def _while_serving(raw: RawServer) -> None:
    raw.initialize()


def _while_a_call_waits(raw: RawServer) -> None:
    raw.initialize()
    raw.call(1, "alc_run", {"code": '{"do": "progress"}'}, progressToken="t")
    raw.line()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", [_at_once, _while_serving, _while_a_call_waits])
def test_a_signal_ends_it_with_exit_code_0_at_any_moment(
    raw: RawServer, number: signal.Signals, moment: Callable[[RawServer], None]
) -> None:
    moment(raw)
    began_s = time.monotonic()
    raw.process.send_signal(number)

    assert raw.process.wait(LIMIT_S) == 0
    assert time.monotonic() - began_s < QUICK_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None], ids=["SIGINT", "SIGTERM", "end of input"])
def test_as_pid_1_it_ends_at_once_too(
    environment: dict[str, str], raw: RawServer, number: signal.Signals | None
) -> None:
    unshare = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine makes no pid namespaces")
    script = 'exec "$0" -m algocline_mcp'
    process = subprocess.Popen(
        [*unshare, "sh", "-c", script, sys.executable],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(raw.INITIALIZE)
    process.stdin.flush()
    process.stdout.readline()
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    began_s = time.monotonic()
    try:
        if number is None:
            process.stdin.close()
        else:
            os.kill(child, number)
        assert process.wait(LIMIT_S) == 0
        assert time.monotonic() - began_s < QUICK_S
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_closed_standard_descriptors_end_it_without_a_traceback(environment: dict[str, str]) -> None:
    command = '"$0" -m algocline_mcp <&- >&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], env=environment, capture_output=True, timeout=LIMIT_S, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
