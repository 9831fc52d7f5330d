"""Strategies that never end, or take all they can get, by each construct of the language: each ends with an error of
its own, and another session on the same server goes on meanwhile."""

from typing import Any

import anyio
import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from tests.rig import undisturbed as other_session
from tests.rig.rig import Rig, run, say
from tests.rig.undisturbed import undisturbed

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_control_session_that_waits_for_another_one_is_noticed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def delayed(*args: Any, **options: Any) -> Any:
        await anyio.sleep(2.0)
        return await say(*args, **options)

    async with rig.pool() as pool:
        with pytest.raises(AssertionError, match=r"s before, .* s meanwhile"):
            async with undisturbed(pool):
                monkeypatch.setattr(other_session, "say", delayed)


ENDLESS = {
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutine that yields": """
        local go = coroutine.wrap(function() while true do coroutine.yield() end end)
        while true do go() end""",
    "pcall in a coroutine": "coroutine.wrap(function() while true do pcall(error) end end)()",
    "variable that is closed": "local x <close> = setmetatable({}, {__close = function() while true do end end})",
    "metamethod": "return setmetatable({}, {__index = function() while true do end end}).x",
    "order": "table.sort({1, 2, 3}, function() while true do end end)",
    "replacement": "return (('a'):gsub('a', function() while true do end end))",
    "iterator": "for _ in function() return 1 end do end",
    "backward goto": "::again:: goto again",
    "error handler": "xpcall(error, function() while true do end end)",
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_endless_code_uses_up_the_processor_time_of_its_step(rig: Rig, name: str) -> None:
    async with rig.pool(step_cpu_s=0, strikes=2) as pool, undisturbed(pool):
        sid, stuck, _ = await run(pool, ENDLESS[name])
        await stop_via_pool(pool, sid, "cancel")

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop"), stuck
    assert "used up the processor time" in stuck["error"]


REFUSED = {
    "finaliser": ("setmetatable({}, {__gc = function() while true do end end}) collectgarbage()", "__gc"),
    "coroutines": (
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "out of memory",
    ),
    "coroutines that wait": (
        """local t = {}
        while true do
            t[#t + 1] = coroutine.wrap(function() local a, b, c = {}, {}, {} coroutine.yield(a, b, c) end)
            t[#t]()
        end""",
        "out of memory",
    ),
    "closures": ("local f = function() end while true do local g = f f = function() return g end end", "out of memory"),
    "keys": ("local t, n = {}, 0 while true do n = n + 1 t['k' .. n] = n end", "out of memory"),
    "string.rep": ("return #string.rep('x', 1 << 40)", "out of memory"),
    "table.concat": (
        "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1 << 20) end return table.concat(t)",
        "out of memory",
    ),
    "nested coroutines": ("local function f() return coroutine.wrap(f)() end return f()", "stack overflow"),
    "nested pcall": ("local function f() assert(pcall(f)) end return f()", "stack overflow"),
    "nested gsub": ("local function f() return (('a'):gsub('a', f)) end return f()", "stack overflow"),
    "nested metamethods": ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "loop"),
    "varargs": ("return select('#', table.unpack({}, 1, 1e7))", "too many results"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_memory_and_stack_have_an_end_that_is_an_error(rig: Rig, name: str) -> None:
    code, word = REFUSED[name]
    async with rig.pool(heap_bytes=16 * MIB) as pool, undisturbed(pool):
        end = (await run(pool, code)).result

    assert end["status"] == "error", end
    assert word in end["error"]


async def test_answers_that_are_kept_fill_the_heap_and_no_more(rig: Rig) -> None:
    code = "local t = {} while true do t[#t + 1] = alc.llm('p') .. #t end"
    async with rig.pool(heap_bytes=8 * MIB) as pool, undisturbed(pool):
        sid, reply, _ = await run(pool, code)
        for number in range(32):
            if reply["status"] == "needs_response":
                reply = (await say(pool, sid, f"q-{number}", "x" * MIB)).result

    assert reply["status"] == "error"
    assert "out of memory: a strategy may use 8 MiB" in reply["error"]


FLOODS = {
    "state": "local n = 0 while true do n = n + 1 alc.state.set('k' .. n % 9, string.rep('x', 100000)) end",
    "reads of state": "alc.state.set('k', string.rep('x', 100000)) while true do alc.state.get('k') end",
    "cards": "while true do alc.card.create{pkg = {name = 'p'}, text = string.rep('x', 100000)} end",
    "modules": "local n = 0 while true do n = n + 1 pcall(require, string.rep('m', 900) .. n) end",
}


@pytest.mark.parametrize("name", FLOODS)
async def test_flood_of_records_ends_where_the_journal_is_full(rig: Rig, name: str) -> None:
    async with rig.pool(journal_bytes=2 * MIB) as pool, undisturbed(pool):
        with pytest.raises(Refused) as caught:
            await run(pool, FLOODS[name])
        (sid,) = (path.stem for path in rig.home.sessions.glob("*.journal") if path.stat().st_size > MIB)
        with pytest.raises(Refused) as again:
            await status_via_pool(pool, sid, wait_s=30.0)
        await stop_via_pool(pool, sid, "cancel")

    assert (caught.value.code, again.value.code) == ("journal_full", "journal_full")
    assert "raise ALC_JOURNAL_BYTES" in str(caught.value)
