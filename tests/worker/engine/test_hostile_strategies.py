"""Hostile and broken strategies: they damage only themselves, and another session is not affected."""

import resource

import anyio
import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.pool.dispatch import list_via_pool, status_via_pool, stop_via_pool
from tests.rig.rig import ASK_TWICE, ENDLESS, ORDINARY, WAIT_S, Program, Rig, kill, run, say
from tests.rig.undisturbed import QUICK_S, undisturbed

pytestmark = pytest.mark.anyio

PATTERN = 'return (("a"):rep(40)):find(("a?"):rep(40) .. ("a"):rep(40) .. "b")'


HARMLESS: dict[str, tuple[str, str]] = {
    "os.exit": ("os.exit(0)", "os.exit is not available"),
    "os.exit in pcall": ("pcall(os.exit, true, true) error('still here')", "still here"),
    "os.execute": ("os.execute('kill -9 $PPID')", "nil value"),
    "io.popen": ("io.popen('id')", "nil value"),
    "io.lines": ("for line in io.lines('/etc/passwd') do end", "nil value"),
    "io.open": ("error(select(2, io.open('/etc/passwd')))", "a strategy has no files"),
    "bytecode": ("local f, why = load('\\27Lua', 'x', 'b') error(why)", "attempt to load a text chunk"),
    "deep recursion": ("local function f() return 1 + f() end return f()", "stack overflow"),
    "deep C recursion": ("local s = string.rep('(', 1000) return load('return ' .. s)()", "nil value"),
    "deep result": ("local t = {} for _ = 1, 1000 do t = {t} end return t", "nest"),
    "result that is no JSON": ("return print", "function"),
    "string of 50 MB as prompt": ("return alc.llm(string.rep('x', 50 * 1024 * 1024))", "memory"),
    "string of 5 MB as prompt": (
        "return alc.llm(string.rep('x', 5 * 1024 * 1024))",
        "prompt of 5242925 bytes with its options, at",
    ),
    "string of 50 MB as result": ("return string.rep('x', 50 * 1024 * 1024)", "bytes"),
    "string of 17 MB as result": ("return string.rep('x', 17 * 1024 * 1024)", "result of 17825"),
    "300 prompts at once": (
        "local t = {} for i = 1, 300 do t[i] = {prompt = 'p'} end return alc.llm_batch(t)",
        "300 prompts at once, at most 256",
    ),
    "memory bomb": ("local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end", "memory"),
    "string that doubles": ("local s = 'x' while true do s = s .. s end", "memory"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS)
async def test_harmful_code_ends_with_an_error_of_its_own(rig: Rig, name: str) -> None:
    code, word = HARMLESS[name]
    async with rig.pool() as pool, undisturbed(pool):
        end = (await run(pool, code)).result

    assert end["status"] == "error", end
    assert word in end["error"]
    assert len(end["error"]) < 2000


@pytest.mark.slow
async def test_strategy_may_catch_the_error_of_a_prompt_that_is_too_long(rig: Rig) -> None:
    code = 'local ok, why = pcall(alc.llm, string.rep("x", 50 << 20)) return alc.llm("then " .. #why)'
    async with rig.pool() as pool:
        end = (await run(pool, code)).result

    assert end["prompt"].startswith("then ")


@pytest.mark.parametrize("call", ["alc.llm('')", "alc.llm_json(' ')", "alc.llm_batch{{prompt = 'p'}, {prompt = ''}}"])
async def test_strategy_may_catch_the_error_of_a_prompt_that_is_empty(rig: Rig, call: str) -> None:
    code = f"local ok, why = pcall(function() return {call} end) return alc.llm('then ' .. tostring(why))"
    async with rig.pool() as pool:
        sid, asked, _ = await run(pool, code)
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-0", "A")).result

    assert "the prompt is empty: say what the model shall do" in asked["prompt"]
    assert end["result"] == "A"


async def test_output_of_a_strategy_goes_to_its_log_and_nowhere_else(rig: Rig) -> None:
    code = 'io.write("one\\ntwo") print("three") io.stderr:write("four\\n") alc.log("warn", "five") return 1'
    async with rig.pool() as pool:
        sid, end, _ = await run(pool, code)
    logged = [(record["level"], record["message"]) for record in rig.records(sid, "note")]

    assert end["result"] == 1
    assert ("info", "one") in logged
    assert ("warn", "five") in logged
    assert {message for _, message in logged} == {"one", "two", "three", "four", "five"}


@pytest.mark.slow
@pytest.mark.parametrize("code", [ENDLESS, "while true do pcall(error) end", PATTERN], ids=["loop", "pcall", "pattern"])
async def test_endless_code_gets_strikes_for_its_processor_time_until_crash_loop(rig: Rig, code: str) -> None:
    async with rig.pool(step_cpu_s=0, strikes=2) as pool, undisturbed(pool):
        sid, stuck, _ = await run(pool, code)
        listed = [line for line in (await list_via_pool(pool))["sessions"] if line["session_id"] == sid]
        engines = rig.engines(sid)
        end = (await stop_via_pool(pool, sid, "cancel")).result

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop")
    assert "2 times in this step, last: used up the processor time" in stuck["error"]
    assert listed[0]["status"] == "error"
    assert engines == []  # no engine starts until the next request
    assert end["status"] == "cancelled"


async def test_endless_code_can_be_cancelled_at_once(rig: Rig) -> None:
    async with rig.pool() as pool, undisturbed(pool):
        sid, running, _ = await run(pool, PATTERN, wait_s=0.1)
        began = anyio.current_time()
        end = (await stop_via_pool(pool, sid, "cancel")).result
        took_s = anyio.current_time() - began

    assert (running["status"], end["status"]) == ("running", "cancelled")
    assert took_s < QUICK_S


TWO_LONG_STEPS = """
local function burn() local t = os.clock() while os.clock() - t < 0.8 do for _ = 1, 100000 do end end end
burn() alc.llm("first") burn() alc.llm("second") burn() return "through"
"""


@pytest.mark.slow
async def test_each_step_has_its_own_processor_time_also_for_an_ordinary_user(rig: Rig) -> None:
    """Without CAP_SYS_RESOURCE, a process cannot raise a hard limit that was lowered for an earlier step."""
    with Program(rig, "server.py", prefix=ORDINARY, ALC_STEP_CPU_S="1", ALC_STRIKES="1") as server:
        reply = server.ask("run", code=TWO_LONG_STEPS)["result"]
        for number in range(2):
            assert reply["status"] == "needs_response"
            reply = server.ask("continue", sid=reply["session_id"], answer=[f"q-{number}", "A"])["result"]

    assert reply["status"] == "completed", reply


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CPU"])
async def test_lower_limits_of_the_system_work_for_an_ordinary_user(rig: Rig, name: str) -> None:
    """As under `ulimit -v`: an engine that asked for a higher limit than the hard limit would fail at its start."""
    limit = {"RLIMIT_AS": 240 * MIB, "RLIMIT_FSIZE": 256 * 1024, "RLIMIT_CPU": 100}[name]
    option = {"RLIMIT_AS": "--as", "RLIMIT_FSIZE": "--fsize", "RLIMIT_CPU": "--cpu"}[name]
    assert getattr(resource, name) is not None
    with Program(rig, "server.py", prefix=[*ORDINARY, "prlimit", f"{option}={limit}"], ALC_STRIKES="1") as server:
        reply = server.ask("run", code=ASK_TWICE)
        reply = server.ask("continue", sid=reply["result"]["session_id"], answer=["q-0", "A"])

    assert reply["result"].get("prompt") == "second after A", reply


@pytest.mark.slow
async def test_flood_of_log_lines_keeps_journal_and_memory_small_and_delays_no_call(rig: Rig) -> None:
    code = 'local line = string.rep("x", 65000) for _ = 1, 4000 do print(line) end return alc.llm("done")'
    async with rig.pool() as pool, undisturbed(pool):
        sid, *_ = await run(pool, code, wait_s=0.1)
        began = anyio.current_time()
        running = (await status_via_pool(pool, sid)).result
        took_s = anyio.current_time() - began
        done = (await status_via_pool(pool, sid, wait_s=2 * WAIT_S)).result
        logged = rig.records(sid, "note")
        resident = rig.resident_bytes(rig.keeper(sid))

    assert running["status"] == "running"
    assert took_s < QUICK_S
    assert done["prompt"] == "done"
    assert rig.journal(sid).stat().st_size < 2 * MIB
    assert logged[-1]["message"].startswith("log full at")
    assert resident < 100 * MIB


async def test_flood_of_prompts_is_answered_one_by_one_and_none_is_lost(rig: Rig) -> None:
    code = "local n = 0 for i = 1, 200 do n = n + #alc.llm('p' .. i) end return n"
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        for number in range(200):
            reply = await say(pool, sid, f"q-{number}", "x")

    assert reply.result["result"] == 200


async def test_strategy_reaches_neither_python_nor_the_registry_of_lua(rig: Rig) -> None:
    probe = """
    local objects = {}
    for name, value in pairs(_G) do if type(value) == "userdata" then objects[#objects + 1] = name end end
    return {#objects, debug.getregistry == nil, python == nil, package.loaded.python == nil}
    """
    async with rig.pool() as pool:
        result = (await run(pool, probe)).result["result"]

    assert result == [0, True, True, True]
