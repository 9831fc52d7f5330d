"""A step: from an answer to the next question, the answer and the question on the disk."""

import contextlib
import os
import socket
import statistics
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from floor import blocking, echo_floor, flush_floor
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from measure import Row, Stopwatch, Timed, beyond, interleaved, not_run, other, ratio, row
from stage import ENDLESS, PROGRAMS, WAIT_S, Stage, Steps, bare_call, call, run
from upstream import Upstream

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.pool.dispatch import extract_feed_response
from algocline_mcp.protocol.messages import PoolRequest, PoolResponse

PART = "step"
POOL, ECHO, FLUSH = "pool layer", "floor: echo and flush", "floor: flush"
PORT = "upstream's scheme, ported"
WHOLE, BARE, STUB = "whole: alc_continue", "whole: alc_status(), empty home", "whole: stub of a bare MCPServer"
POOL_MEMORY, RAW = "pool layer, tmpfs", "raw socket to the worker, tmpfs"

_WHOLE_MS = 0.8
_POOL_MS = 0.25
_RAW_AT_MOST = 2.0
_UPSTREAM = "upstream over its bare call, elsewhere: 1.1 ms host mode, 0.2 ms in process, not durable"


async def measure(stage: Stage) -> list[Row]:
    return await _on_disk(stage) + await _in_memory(stage)


async def _on_disk(stage: Stage) -> list[Row]:
    home = Home(stage.directory())
    with ExitStack() as floors:
        echo = floors.enter_context(echo_floor(stage))
        flush = floors.enter_context(flush_floor(stage))
        port = floors.enter_context(Upstream(stage.directory()))
        stub = StdioServerParameters(command=sys.executable, args=[os.fspath(PROGRAMS / "bare_server.py")])
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(stage.pool())
            client = await stack.enter_async_context(stage.client(home))
            # alc_status reads the journals of its home, and this one grows: the bare call goes to another server.
            empty = await stack.enter_async_context(stage.client(Home(stage.directory())))
            bare = await stack.enter_async_context(Client(stub))
            sid = await _start(port)
            calls = {
                POOL: Steps(pool, await run(pool, ENDLESS)).once,
                ECHO: blocking(echo),
                FLUSH: blocking(flush),
                PORT: _of_port(port, sid),
                WHOLE: _Whole(client, await call(client, "alc_run", code=ENDLESS, wait_s=WAIT_S)).once,
                BARE: bare_call(empty),
                STUB: _Whole(bare, await call(bare, "alc_run", code=ENDLESS)).once,
            }
            times = await interleaved(stage.choose(200, 10), calls, pause_s=0.0)
    flush_ms = statistics.median(times[FLUSH])
    bound = beyond(BARE, times[WHOLE], times[BARE], at_most_ms=_WHOLE_MS + flush_ms, why="0.8 + one fdatasync")
    ratios = [ratio(name, times[POOL], times[name]) for name in (ECHO, PORT)]
    lean = beyond(FLUSH, times[POOL], times[FLUSH], at_most_ms=_POOL_MS)
    return [
        row(PART, POOL, times[POOL], *ratios, lean),
        other(PART, ECHO, times[ECHO]),
        other(PART, FLUSH, times[FLUSH]),
        other(PART, PORT, times[PORT], note="not durable"),
        row(PART, WHOLE, times[WHOLE], bound, ratio(STUB, times[WHOLE], times[STUB]), note=_UPSTREAM),
        other(PART, BARE, times[BARE]),
        other(PART, STUB, times[STUB], note="the SDK alone: no session, nothing on the disk"),
    ]


async def _in_memory(stage: Stage) -> list[Row]:
    if stage.memory_root is None:
        return [not_run(PART, name, "no tmpfs to write to") for name in (POOL_MEMORY, RAW)]
    async with stage.pool(root=stage.memory_root) as pool:
        steps = _RawSteps(pool, await run(pool, ENDLESS))
        both = {POOL_MEMORY: steps.once, RAW: steps.once_raw}
        times = await interleaved(stage.choose(400, 10), both, pause_s=0.0)
    bound = ratio(RAW, times[POOL_MEMORY], times[RAW], at_most=_RAW_AT_MOST)
    return [row(PART, POOL_MEMORY, times[POOL_MEMORY], bound), other(PART, RAW, times[RAW])]


class _RawSteps(Steps):
    async def once_raw(self) -> float:
        """What `continue` needs of a socket and of JSON, blocking, without anything around it."""
        sid, query_id = self.reply.session_id, self.reply.result["query_id"]
        with Stopwatch() as watch:
            answers = [{"query_id": query_id, "response": "A"}]
            request = PoolRequest("continue", 1, sid, WAIT_S, answers=answers, version=__version__)
            response = PoolResponse.decode(_exchange(self.pool.home.socket(sid), request.encode()))
        _, feed_result = extract_feed_response(response)
        (query,) = feed_result["Paused"]["queries"]
        self.reply = self.reply._replace(result={"query_id": query["id"]})
        return watch.ms


def _exchange(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(WAIT_S)
        client.connect(os.fspath(path))
        client.sendall(line)
        received = b""
        while not received.endswith(b"\n"):
            chunk = client.recv(65536)
            if not chunk:
                raise ConnectionResetError("the worker ended before it answered")
            received += chunk
    return received


class _Whole:
    """One session behind a client. A stub always has the same one."""

    def __init__(self, client: Client, paused: dict[str, object]) -> None:
        self._client = client
        self._paused = paused

    async def once(self) -> float:
        named = {name: self._paused[name] for name in ("session_id", "query_id")}
        with Stopwatch() as watch:
            self._paused = await call(self._client, "alc_continue", response="A", wait_s=WAIT_S, **named)
        return watch.ms


async def _start(port: Upstream) -> str:
    """Now and then the scheme refuses a run by itself."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            sid, _ = await port.run_via_pool(ENDLESS, {})
            return sid


def _of_port(port: Upstream, sid: str) -> Timed:
    async def once() -> float:
        with Stopwatch() as watch:
            result = await port.continue_via_pool(sid, "A")
        if "Paused" not in result:
            raise RuntimeError(f"the port answered {result}")
        return watch.ms

    return once
