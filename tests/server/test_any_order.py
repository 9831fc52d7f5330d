"""Any call in any state: random sessions, answers, views, branches, stops and deaths, three calls at a time.

A seed chooses the calls, and a failure names it; the processes are real, so no two runs are alike. Each reply must be a
result that its text repeats, or one sentence that is not an internal error of the server.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

from tests.rig.hosts import server_environment
from tests.rig.processes import processes_of

_CALLS = 600 if os.environ.get("ALC_THOROUGH") == "1" else 150
_AT_ONCE = 3
_LIMIT_S = 600.0  # a call that hangs fails after this; no test takes as long
_SETTINGS = {"ALC_POOL_MAX": "6", "ALC_OUTPUT_BYTES": "20000"}

_CODES = (
    'return alc.llm("one")',
    'local a = alc.llm("first") alc.state.set("k", a) return { a, alc.state.incr("n"), alc.llm("after " .. a) }',
    'local r = alc.llm_batch({ { prompt = "x" }, { prompt = "y", system = "s" }, { prompt = "z" } })\n'
    'alc.log("info", "got") alc.progress(1, 2, "half") return alc.llm("of " .. r[1])',
    'alc.card.create({ pkg = { name = "m" }, stats = { pass = 1 } }) return alc.llm("kept")',
    'error("raised: " .. alc.llm("then"))',
    'local ok, why = pcall(alc.llm, "may refuse") return tostring(ok) .. tostring(why)',
    "return 1",
    'local all = {} for i = 1, 6 do all[i] = alc.llm("item " .. i, { max_tokens = 5 }) end return all',
    'return alc.parallel({ "a", "b" }, function(item) return "P" .. item end)',
    'return alc.llm(string.rep("long ", 30000))',
    'local asks = {} for i = 1, 50 do asks[i] = { prompt = "b" .. i } end return alc.llm_batch(asks)',
    "no Lua at all",
    'return alc.llm_json("an object, please")',
    'alc.state.delete("k") return alc.llm("k is " .. tostring(alc.state.get("k")))',
)
_ANSWERS = ("yes", "", "A" * 3000, '{"a": 1}', "7/10", "日本")
_VIEWS = ("summary", "prompts", "history", "log", "result", "code")
_STRANGERS = ("p-0-0000000000000000", "nope", "", "../x")


class _Player:
    """Makes random calls and uses their results in later calls."""

    def __init__(self, client: Client, home: Path, seed: int) -> None:
        self.client = client
        self.home = home
        self.random = Random(seed)
        self.asked: dict[str, list[str]] = {}  # session id -> the last query ids it asked
        self.cursors: list[tuple[str, str]] = [("", "none")]
        self.finished = 0

    def sid(self) -> str:
        return self.random.choice([*self.asked] * 8 + [*_STRANGERS])

    def sometimes(self, chance: float, **arguments: Any) -> dict[str, Any]:
        return arguments if self.random.random() < chance else {}

    async def call(self, tool: str, **arguments: Any) -> None:
        reply = await self.client.call_tool(tool, arguments)
        (content,) = [block for block in reply.content if isinstance(block, TextContent)]
        call = f"{tool}({arguments}): {content.text[:1000]}"
        if reply.is_error:
            assert "internal error of this server" not in content.text, call
            assert "Traceback" not in content.text, call
            return
        assert reply.structured_content is not None, call
        assert json.loads(content.text) == reply.structured_content, call
        self._remember(reply.structured_content)

    def _remember(self, result: dict[str, Any]) -> None:
        sid = result.get("session_id", "")
        if sid:
            ids = (
                [result["query_id"]]
                if "query_id" in result
                else [query["query_id"] for query in result.get("queries", ())]
            )
            self.asked[sid] = ids or self.asked.get(sid, ["q-0"])
        if result.get("cursor"):
            self.cursors.append((sid, result["cursor"]))
        self.finished += result.get("status") == "completed"
        for branch in result.get("branches", ()):
            self._remember(branch)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        ctxs: tuple[Any, ...] = ({}, {"task": "z"}, {"budget": {"max_llm_calls": 2}}, '{"a": 1}')
        more = self.sometimes(0.3, ctx=self.random.choice(ctxs)) | self.sometimes(0.3, title="t" * 100)
        await self.call("alc_run", code=self.random.choice(_CODES), wait_s=self.random.choice((0, 5)), **more)

    async def answer_one(self) -> None:
        sid = self.sid()
        way = self.sometimes(0.9, response=self.random.choice(_ANSWERS)) or {"refuse": "cannot"}
        which = self.sometimes(0.8, query_id=self.random.choice(self.asked.get(sid, ["q-0"])))
        await self.call("alc_continue", session_id=sid, wait_s=5, **way, **which)

    async def answer_some(self) -> None:
        sid = self.sid()
        ids = self.asked.get(sid, ["q-0"])
        chosen = [*self.random.sample(ids, self.random.randint(1, len(ids))), *self.sometimes(0.2, none=0)]
        items = [{"query_id": query_id, "response": self.random.choice(_ANSWERS)} for query_id in chosen]
        await self.call("alc_continue", session_id=sid, responses=items, wait_s=5)

    async def look(self) -> None:
        arguments = self.sometimes(0.3, limit=self.random.choice((1, 2, 5, 200)))
        arguments |= self.sometimes(0.7, session_id=self.sid()) | self.sometimes(0.6, view=self.random.choice(_VIEWS))
        if self.random.random() < 0.25:
            sid, arguments["cursor"] = self.random.choice(self.cursors)
            arguments |= {"session_id": sid} if sid else {}
        await self.call("alc_status", **arguments)

    async def stop(self) -> None:
        mode = self.sometimes(0.8, mode=self.random.choice(("hibernate", "cancel", "delete")))
        await self.call("alc_stop", session_id=self.sid(), **mode)

    async def branch(self) -> None:
        sid = self.sid()
        change = self.sometimes(0.5, at=self.random.choice([*self.asked.get(sid, ["q-0"]), "q-0", "q-5"]))
        change |= self.sometimes(0.3, response="another") | self.sometimes(0.4, code=self.random.choice(_CODES))
        change |= self.sometimes(0.2, ctx={"task": "other"}) | self.sometimes(0.3, n=self.random.choice((0, 1, 3)))
        await self.call("alc_branch", session_id=sid, wait_s=5, **change, **self.sometimes(0.4, dry_run=True))

    async def browse(self) -> None:
        kind = self.random.choice(("strategies", "packages", "cards", "state"))
        which = self.sometimes(0.4, name=self.random.choice(("default", "default/k", "m", "x y")))
        await self.call("alc_catalog", kind=kind, **which, **self.sometimes(0.3, query="m"))

    async def kill(self) -> None:
        if victims := _workers_of(self.home):
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(victims), self.random.choice((signal.SIGKILL, signal.SIGTERM)))

    async def play(self, calls: int) -> None:
        moves: dict[Callable[[], Awaitable[None]], int] = {
            self.run: 16, self.answer_one: 22, self.answer_some: 16, self.look: 20, self.stop: 8, self.branch: 12,
            self.browse: 5, self.kill: 4,
        }  # fmt: skip
        for _ in range(calls):
            (move,) = self.random.choices([*moves], [*moves.values()])
            await move()

    async def clear_up(self) -> None:
        """Every session that was seen can still be viewed in every view, and cancelled."""
        for sid in list(self.asked):
            for view in _VIEWS:
                await self.call("alc_status", session_id=sid, view=view)
            await self.call("alc_stop", session_id=sid, mode="cancel")


def _workers_of(home: Path) -> list[int]:
    """Pids of keepers and engines."""
    return sorted(process.pid for process in processes_of(home) if process.sid)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill through /proc")
@pytest.mark.parametrize("seed", range(2))
def test_any_call_in_any_state_returns_a_result_or_one_sentence(seed: int) -> None:
    async def play(home: Path) -> None:
        environment = server_environment(home, fake=False, **_SETTINGS)
        server = StdioServerParameters(command=sys.executable, args=["-m", "algocline_mcp"], env=environment)
        with anyio.fail_after(_LIMIT_S):
            async with Client(server) as client:
                player = _Player(client, home, seed)
                try:
                    async with anyio.create_task_group() as players:
                        for _ in range(_AT_ONCE):
                            players.start_soon(player.play, _CALLS // _AT_ONCE)
                finally:
                    with anyio.CancelScope(shield=True):
                        await player.clear_up()
        assert player.finished > _CALLS // 50

    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        anyio.run(play, Path(directory))
