"""Whatever comes over HTTP, a real server refuses or answers it, writes no traceback, and serves the next caller.

`python -m tests.http.test_odd_requests SECONDS` goes on with other seeds, and prints what would fail."""

import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.http.tokens import new_token
from tests.http.odd_requests import requests
from tests.rig.http_server import JSON, LIMIT_S, HttpServer
from tests.rig.stdio_home import StdioHome, wait_for_workers_to_leave

_CALLERS = 4
LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
# One for each fault that the requests of a seed have shown: a traceback in the log, as h11 sends no body after a 200 to
# CONNECT; a line in the log for each bad notification.
FOUND = [
    b"CONNECT /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\ncontent-length: 70\r\n\r\n"
    + b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"a":1}}'.ljust(70),
]


def reply_to(port: int, request: bytes) -> bytes:
    """All that the server sends until it closes the connection. Raises TimeoutError."""
    content = b""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as peer, suppress(ConnectionError):
        peer.sendall(request)
        while chunk := peer.recv(1 << 16):
            content += chunk
    return content


def faults(port: int, sent: Iterable[bytes], bearer: str = "") -> tuple[list[str], Counter[bytes]]:
    """Replies that a server must not give, and how often each status came."""
    wrong, statuses, pending = [], Counter[bytes](), iter(sent)
    lock = threading.Lock()

    def play() -> None:
        while True:
            with lock:
                request = next(pending, None)
            if request is None:
                return
            if bearer:
                line, _, rest = request.partition(b"\r\n")
                request = b"%s\r\nauthorization: Bearer %s\r\n%s" % (line, bearer.encode(), rest)
            try:
                reply = reply_to(port, request)
            except TimeoutError:
                reply = b"no end within the limit"
            status = reply[9:12]
            with lock:
                statuses[status] += 1
                is_wrong = bool(reply) and (not reply.startswith(b"HTTP/1.1 ") or status >= b"500")
                if is_wrong or b"Traceback" in reply:
                    wrong.append(f"{request[:1500]!r} -> {reply[:1500]!r}")

    threads = [threading.Thread(target=play) for _ in range(_CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong, statuses


@pytest.mark.slow
@pytest.mark.parametrize("asks", [False, True], ids=["of the user", "of a principal"])
def test_odd_request_gets_a_refusal_and_harms_nobody(stdio_home: StdioHome, asks: bool) -> None:
    token = new_token(Home(stdio_home.root), "anna") if asks else ""
    with HttpServer({**stdio_home.environment, "ALC_HTTP_READ_S": "2"}) as server:
        wrong, statuses = faults(server.port, [*FOUND, *requests(1, 400)], token)
        bearer = {"authorization": f"Bearer {token}"} if asks else {}
        after = server.ask("/mcp", LIST, **JSON, **bearer)[0]
        code, stderr = server.stop()

    assert wrong == []
    assert after == 200
    assert {b"200", b"400", b"405"} <= statuses.keys()
    assert code == 0
    assert stderr.count("\n") == 1, stderr  # the note of its start


def _go_on(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = StdioHome(Path(directory))
        with HttpServer({**home.environment, "ALC_HTTP_READ_S": "2"}) as server:
            ends_s, seed, counts = time.monotonic() + seconds, 100, Counter[bytes]()
            while time.monotonic() < ends_s:
                wrong, statuses = faults(server.port, requests(seed, 300))
                counts += statuses
                for line in wrong:
                    print(f"seed {seed}: {line}", flush=True)
                seed += 1
            print(dict(counts), server.descriptors(), "descriptors")
            print(server.stop()[1][-5000:])
        wait_for_workers_to_leave(home)


if __name__ == "__main__":
    _go_on(float(sys.argv[1]))
