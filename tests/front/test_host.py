"""The host's ends of the front, with real pipes and sockets: a slow host is never waited for, a gone one is noticed."""

import os
import socket
from collections import deque

import pytest

from algocline_mcp.front.host import HostInput, HostOutput
from tests.rig.hosts import LIMIT_S, RawServer, code_of


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_the_writer_never_waits_for_a_slow_reader_and_notices_a_closed_one(kind: str) -> None:
    if kind == "pipe":
        theirs, ours = os.pipe()
    else:
        reading, writing = socket.socketpair()
        theirs, ours = reading.detach(), writing.detach()
    output, lines = HostOutput(ours), deque([b"x" * 500_000 + b"\n", b"y" * 500_000 + b"\n"])

    received = b""
    output.write(lines)
    assert output.is_behind
    while len(received) < 1_000_002:
        received += os.read(theirs, 1 << 16)
        output.write(lines)
    assert received == b"x" * 500_000 + b"\n" + b"y" * 500_000 + b"\n"

    os.close(theirs)
    with pytest.raises(OSError, match="Broken pipe"):
        output.write(deque([b"after the end\n"]))
    output.close()


def test_the_last_line_needs_no_line_feed() -> None:
    theirs, ours = os.pipe()
    os.write(ours, b"\xef\xbb\xbfone\n\n  \ntwo")
    os.close(ours)
    host = HostInput(theirs)

    received: list[tuple[bytes, bool]] = []
    while (lines := host.read()) is not None:
        received += lines
    os.close(theirs)
    assert received == [(b"one", False), (b"two", False)]


@pytest.mark.slow
def test_a_host_that_reads_late_gets_long_replies_whole_and_in_order(shared: RawServer) -> None:
    shared.call(30, "alc_run", {"code": "x" * 400_000})
    shared.call(31, "alc_run", {"code": "y" * 400_000})

    replies = {reply["id"]: reply for reply in (shared.line(), shared.line())}
    assert code_of(replies[30]) == "x" * 400_000
    assert code_of(replies[31]) == "y" * 400_000


@pytest.mark.slow
def test_a_host_that_stopped_reading_ends_the_front_quietly(raw: RawServer) -> None:
    raw.initialize()
    assert raw.process.stdout is not None
    raw.process.stdout.close()
    raw.call(1, "alc_status", {})

    assert raw.process.wait(LIMIT_S) == 0
    assert raw.process.stderr is not None
    assert raw.process.stderr.read() == b""
