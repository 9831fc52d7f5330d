"""Start and end of a real server on its stdin and stdout: end of input, signals, closed descriptors."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.hosts import LIMIT_S, RawServer, code_of, run_line

QUICK_S = 5.0  # of what takes 50 ms on an idle machine


def test_end_of_input_with_nothing_asked_ends_at_once(raw: RawServer) -> None:
    out, _ = raw.process.communicate(b"", timeout=LIMIT_S)

    assert (raw.process.returncode, out) == (0, b"")


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
    assert b"algocline_mcp.front.main" in imported
    assert b"mcp.server" not in imported


@pytest.mark.slow
def test_requests_before_the_end_of_input_are_answered(raw: RawServer) -> None:
    out, _ = raw.process.communicate(raw.INITIALIZE + run_line(1, b"last words"), timeout=LIMIT_S)

    replies = [json.loads(line) for line in out.splitlines()]
    assert raw.process.returncode == 0
    assert [reply["id"] for reply in replies] == [0, 1]
    assert code_of(replies[1]) == "last words"


@pytest.mark.slow
def test_requests_before_the_import_of_the_sdk_get_the_time_they_need(environment: dict[str, str]) -> None:
    raw = RawServer(environment | {"ALC_GRACE_S": "0"})
    line = run_line(1, rb"{\"do\": \"hang\"}").replace(b'"arguments":{', b'"arguments":{"wait_s":2,')
    out, _ = raw.process.communicate(raw.INITIALIZE + line, timeout=LIMIT_S)
    raw.close()

    (_, last) = [json.loads(line) for line in out.splitlines()]
    assert "no answer within 2 s" in last["result"]["content"][0]["text"]


@pytest.mark.slow
def test_a_hanging_call_does_not_keep_the_server_alive_after_the_end_of_input(raw: RawServer) -> None:
    raw.initialize()
    raw.call(1, "alc_run", {"code": '{"do": "hang"}', "wait_s": 600})
    assert raw.process.stdin is not None
    began_s = time.monotonic()
    raw.process.stdin.close()

    assert raw.process.wait(LIMIT_S) == 0
    assert time.monotonic() - began_s < QUICK_S


@pytest.mark.slow
def test_an_unread_reply_does_not_keep_the_server_alive_after_the_end_of_input(raw: RawServer) -> None:
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None], ids=["SIGINT", "SIGTERM", "end of input"])
def test_a_signal_or_the_end_of_input_ends_it_at_once_as_pid_1_too(
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

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
