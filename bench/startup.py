"""Start of the server: from exec to the first replies, in both eras of the protocol; a stream of requests through it.

Raw pipes, no client: a host's own start is not ours. *First* is a start in an empty home, *second* one in the home of
the first, where a server may remember what it replied.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
from measure import Row, at_most, none, other, ratio, row
from stage import PROGRAMS, Stage

from algocline_mcp.config.home import Home

PART = "start"
OURS = ("-m", "algocline_mcp")
BARE = (os.fspath(PROGRAMS / "bare_server.py"),)
HANDSHAKE, STATELESS = "handshake", "stateless"

_SECOND_MS = 100.0
_AHEAD_AT_MOST = 0.1
_FIRST_AT_MOST = 1.1
_EVERY_S = 0.002
_LONGER_S = 0.2  # the stream goes on so long after the SDK has answered
_REPLY_S = 60.0
_CLIENT = {"name": "bench", "version": "1"}
_INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT}
_META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": _CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
_UPSTREAM = "upstream, elsewhere: 9.5 ms to initialize, 19 ms to tools/list"


async def measure(stage: Stage) -> list[Row]:
    return await anyio.to_thread.run_sync(lambda: [*_starts(stage), _stream(stage)])


# ── exec to replies ───────────────────────────────────────────────────────────────────────────────────────


def _starts(stage: Stage) -> list[Row]:
    times: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(stage.choose(4, 1)):
        for era in (HANDSHAKE, STATELESS):
            environ = stage.environ_of(Home(stage.directory()), {})
            for name, program in (("bare MCPServer", BARE), ("first", OURS), ("second", OURS)):
                for reply, took_ms in _start(program, environ, era).items():
                    times.setdefault((era, reply, name), []).append(took_ms)
    return [
        row
        for era in (HANDSHAKE, STATELESS)
        for reply in (_hello(era), "tools/list")
        for row in _rows(era, reply, times)
    ]


def _rows(era: str, reply: str, times: Mapping[tuple[str, str, str], list[float]]) -> list[Row]:
    bare, first, second = (times[era, reply, name] for name in ("bare MCPServer", "first", "second"))
    label = f"{reply}, {era}"
    against = f"{label}: bare MCPServer"
    within = at_most(sorted(second)[len(second) // 2], _SECOND_MS, "ms")
    return [
        row(
            PART,
            f"{label}: second",
            second,
            within,
            ratio(against, second, bare, at_most=_AHEAD_AT_MOST),
            note=_UPSTREAM,
        ),
        row(PART, f"{label}: first", first, ratio(against, first, bare, at_most=_FIRST_AT_MOST)),
        other(PART, against, bare),
    ]


def _start(program: tuple[str, ...], environ: Mapping[str, str], era: str) -> dict[str, float]:
    """Milliseconds from exec to each reply; the next request is sent when the last is answered."""
    began = time.perf_counter()
    took: dict[str, float] = {}
    with _server(program, environ) as server:
        for number, method in enumerate((_hello(era), "tools/list")):
            server.send(number, method, _parameters(era, method))
            reply = server.receive()
            took[method] = (time.perf_counter() - began) * 1000
            if reply is None or reply.get("id") != number or "result" not in reply:
                raise RuntimeError(f"{method} was answered {reply}")
            if method == "initialize":
                server.notify("notifications/initialized")
    return took


def first_call_ms(environ: Mapping[str, str], tool: str, arguments: Mapping[str, str]) -> float:
    """From exec until the first call of a tool is answered; what it has started is killed with the server, or leaves
    when the stage ends."""
    began = time.perf_counter()
    with _server(OURS, environ) as server:
        server.send(0, "initialize", _INITIALIZE)
        server.notify("notifications/initialized")
        server.send(1, "tools/call", {"name": tool, "arguments": arguments})
        while (reply := server.receive()) is not None and reply["id"] != 1:
            pass
        took_ms = (time.perf_counter() - began) * 1000
    if reply is None or reply.get("result", {}).get("isError", True):
        raise RuntimeError(f"{tool} was answered {reply}")
    return took_ms


def _hello(era: str) -> str:
    return "server/discover" if era == STATELESS else "initialize"


def _parameters(era: str, method: str) -> dict[str, Any]:
    if era == STATELESS:
        return _META
    return _INITIALIZE if method == "initialize" else {}


# ── a stream of requests ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Stream:
    """What was asked and what came back, over all starts."""

    replied_ms: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=lambda: Counter(lost=0, doubled=0, different=0))


def _stream(stage: Stage) -> Row:
    """A request every 2 ms from exec until the SDK has answered a tool's call, and a little longer."""
    environ = stage.environ_of(Home(stage.directory()), {})
    _start(OURS, environ, HANDSHAKE)
    seen = _Stream()
    starts = stage.choose(10, 1)
    for _ in range(starts):
        _stream_once(environ, seen)
    note = f"{starts} starts; a reply is compared with the last one to the same method"
    return row(PART, "a request every 2 ms through a start", seen.replied_ms, none(seen.wrong), note=note)


def _stream_once(environ: Mapping[str, str], seen: _Stream) -> None:
    asked: dict[int, tuple[str, float]] = {}
    replies: dict[int, list[tuple[float, str]]] = {}
    is_enough = threading.Event()
    with _server(OURS, environ) as server:

        def send() -> None:
            server.send(0, "initialize", _INITIALIZE)
            server.notify("notifications/initialized")
            server.send(1, "tools/call", {"name": "alc_status", "arguments": {}})
            number = 2
            while not is_enough.wait(_EVERY_S):
                method = ("tools/list", "ping")[number % 2]
                asked[number] = (method, time.perf_counter())
                server.send(number, method, {})
                number += 1

        sender = threading.Thread(target=send)
        sender.start()
        try:
            enough_s = float("inf")
            while (reply := server.receive(0.5 if is_enough.is_set() else _REPLY_S)) is not None:
                now = time.perf_counter()
                replies.setdefault(reply["id"], []).append((now, json.dumps(reply.get("result"))))
                if reply["id"] == 1:
                    enough_s = now + _LONGER_S
                if now > enough_s:
                    is_enough.set()
        finally:
            is_enough.set()
            sender.join()
    for method in ("tools/list", "ping"):
        _judge({number: sent_s for number, (name, sent_s) in asked.items() if name == method}, replies, seen)


def _judge(asked: Mapping[int, float], replies: Mapping[int, list[tuple[float, str]]], seen: _Stream) -> None:
    """All of one method, so that all results have to be the same; the last one is certainly the SDK's own."""
    results = [replies[number][0][1] for number in asked if number in replies]
    seen.wrong["different"] += sum(result != results[-1] for result in results)
    for number, sent_s in asked.items():
        answers = replies.get(number, [])
        seen.wrong["lost"] += not answers
        seen.wrong["doubled"] += len(answers) > 1
        seen.replied_ms += [(answers[0][0] - sent_s) * 1000] if answers else []


# ── the pipes ─────────────────────────────────────────────────────────────────────────────────────────────


class _Server:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._buffer = b""

    def send(self, number: int, method: str, params: Mapping[str, Any]) -> None:
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})

    def notify(self, method: str) -> None:
        self._write({"jsonrpc": "2.0", "method": method})

    def _write(self, message: Mapping[str, Any]) -> None:
        self._in.write(json.dumps(message).encode() + b"\n")
        self._in.flush()

    def receive(self, within_s: float = _REPLY_S) -> dict[str, Any] | None:
        """The next message that is a reply; None where none comes in time, or ever."""
        deadline = time.monotonic() + within_s
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                message: dict[str, Any] = json.loads(line)
                if "id" in message and "method" not in message:
                    return message
                continue
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._out], [], [], left_s)[0] or not (chunk := os.read(self._out.fileno(), 1 << 18)):
                return None
            self._buffer += chunk


@contextmanager
def _server(program: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[_Server]:
    """Killed at the end: it holds nothing, and its fork server ends with it."""
    process = subprocess.Popen(
        [sys.executable, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environ),
    )
    server = _Server(process)
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        process.communicate()
