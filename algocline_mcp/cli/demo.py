"""`alc demo`: a strategy with scripted answers, whose server and worker are killed half-way.

Contract: the demo uses a home of its own and removes it at the end. It signals only processes that it has started: its
server through the handle, its worker through the registry of that home, after a check of its identity. Returns 0 if
every answer was kept and no prompt was asked twice, otherwise 1.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any, Self

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused, Unreachable
from algocline_mcp.pool.registry import PoolRegistry, PoolSessionEntry

STRATEGY = """\
local asks = {}
for i, role in ipairs({ "security", "cost", "the user" }) do
  asks[i] = { prompt = "As the reviewer for " .. role .. ": " .. ctx.task }
end
local verdicts = alc.llm_batch(asks)
local doubt = alc.llm("Reviewers said:\\n" .. table.concat(verdicts, "\\n") .. "\\nThe strongest argument against?")
return { verdicts = verdicts, doubt = doubt }
"""
TASK = "Ship on Friday?"
ANSWERS = {
    "q-0": "Yes. The change touches no credentials.",
    "q-1": "Yes. A Friday deploy costs nothing extra.",
    "q-2": "No. Support is closed on Saturday.",
    "q-3": "If it goes wrong, help comes on Monday: ship on Thursday.",
}
LIMIT_S = 60.0  # for one reply; the first reply waits for the import of the SDK, also on a busy machine
LEAVE_S = 10.0

Say = Callable[[str], object]


def play(say: Say) -> int:
    with _own_home() as home:
        demo = Demo(home, say, time.monotonic())
        try:
            return demo.run()
        except (Refused, Unreachable, OSError, KeyError, ValueError) as exc:
            say(f"the demo stopped: {exc or type(exc).__name__}; run alc doctor to find the problem")
            return 1
        finally:
            end_workers(home, demo.workers)


class Demo:
    def __init__(self, home: Home, say: Say, began_s: float) -> None:
        self._home = home
        self._say = say
        self._began_s = began_s
        self.workers: list[
            PoolSessionEntry
        ] = []  # all workers so far; the registry forgets a worker that is about to end
        self.asked: list[str] = []  # ids of prompts, in the order of their first appearance

    def run(self) -> int:
        self._say("A strategy asks three reviewers at once, then a fourth question. The answers are scripted here;")
        self._say("in a host, its own model gives them. Half-way, everything is killed.\n")
        with Server.start(self._home) as server:
            state = server.call("alc_run", code=STRATEGY, ctx={"task": TASK}, title="demo")
            sid = state["session_id"]
            self._print(f"alc_run       starts session {sid[:14]}…")
            worker = self._worker(sid)
            self._print(f"              server: process {server.pid}, worker: process {worker.pid}")
            self._print_prompts(state)
            self._answer(server, sid, "q-0", "q-1")
            self._print(f"KILL -9       server {server.pid} and worker {worker.pid}, in the middle of the round")
            server.kill()
            worker.identity.signal(signal.SIGKILL)
        with Server.start(self._home) as server:
            state = server.call("alc_status", session_id=sid)
            self._print(
                f"alc_status    a new server, process {server.pid}, knows the session: status {state['status']}"
            )
            is_kept = _ids(state) == ["q-2"]
            kept = "q-0 and q-1 are kept, " if is_kept else ""
            self._print(f"              {kept}it waits for {', '.join(_ids(state))}")
            state = self._answer(server, sid, "q-2")
            self._print(
                f"              a new worker, process {self._worker(sid).pid}, went on with the recorded answers"
            )
            self._print_prompts(state)
            state = self._answer(server, sid, *_ids(state))
            return self.end(state, is_kept)

    def end(self, state: Mapping[str, Any], is_kept: bool) -> int:
        """The exit code: 0 if every answer is in the result and each prompt was asked once."""
        if state["status"] != "completed":
            raise Refused(f"the session ended as {state['status']}: {state.get('error', '')}")
        given = [*state["result"]["verdicts"], state["result"]["doubt"]]
        is_whole = is_kept and given == list(ANSWERS.values()) and self.asked == list(ANSWERS)
        self._print("completed     " + json.dumps(state["result"]["doubt"]))
        outcome = "nothing was lost, nothing was asked twice" if is_whole else "the result differs from the answers"
        self._say(f"\n{len(self.asked)} prompts, {len(given)} answers, two processes killed: {outcome}.")
        return 0 if is_whole else 1

    def _answer(self, server: "Server", sid: str, *ids: str) -> dict[str, Any]:
        responses = [{"query_id": query_id, "response": ANSWERS[query_id]} for query_id in ids]
        state = server.call("alc_continue", session_id=sid, responses=responses, by="alc demo")
        for query_id in ids:
            self._print(f"alc_continue  {query_id} ← {ANSWERS[query_id]}")
        return state

    def _print_prompts(self, state: Mapping[str, Any]) -> None:
        for query in state.get("queries") or [state]:
            self.asked.append(query["query_id"])
            self._print(f"asks          {query['query_id']} → {' '.join(query['prompt'].split())[:64]}")

    def _worker(self, sid: str) -> PoolSessionEntry:
        entry = PoolRegistry.load(self._home.registry).find(sid)
        if entry is None:
            raise Unreachable(f"no worker of session {sid} is registered")
        self.workers.append(entry)
        return entry

    def _print(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._began_s:5.2f} s  {line}")


def _ids(state: Mapping[str, Any]) -> list[str]:
    return [query["query_id"] for query in state.get("queries") or [state] if "query_id" in query]


# ── the smallest possible host ────────────────────────────────────────────────────────────────────────


class Server:
    """An MCP server of the demo, over pipes. It has ended when the context exits."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._count = 0
        self._rest = b""

    @classmethod
    def start(cls, home: Home, **settings: str) -> Self:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALC_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "algocline_mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "ALC_HOME": str(home.root), **settings},
        )
        server = cls(process)
        info = {"name": "alc-demo", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        server._request("initialize", params)
        server._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return server

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool. Raises Refused for a failed call, Unreachable without a reply."""
        result = self._request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise Refused(result["content"][0]["text"])
        content: dict[str, Any] = result["structuredContent"]
        return content

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._count += 1
        self._send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        while True:
            message = json.loads(self._line())
            if message.get("id") == self._count:
                if "error" in message:
                    raise Refused(message["error"]["message"])
                result: dict[str, Any] = message["result"]
                return result

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            if not select([fd], [], [], LIMIT_S)[0]:
                raise Unreachable(f"the server has not answered within {LIMIT_S:g} s")
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                raise Unreachable("the server ended without an answer")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self.kill()


# ── a temporary home ─────────────────────────────────────────────────────────────────────


@contextmanager
def _own_home() -> Iterator[Home]:
    root = Path(tempfile.mkdtemp(prefix="alc-demo-"))
    home = Home(root)
    try:
        yield home
    finally:
        shutil.rmtree(root, ignore_errors=True)


def end_workers(home: Home, known: Sequence[PoolSessionEntry] = ()) -> None:
    """On return the workers in `known` and in the registry of the home have ended."""
    entries = [*known]
    with suppress(OSError, ValueError):
        entries += PoolRegistry.load(home.registry).sessions
    for entry in entries:
        entry.identity.signal(signal.SIGTERM)
        with entry.identity.open_pidfd() as pidfd:
            if pidfd is not None and pidfd >= 0:
                select([pidfd], [], [], LEAVE_S)
