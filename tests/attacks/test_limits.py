"""Each limit of a session ends what exceeds it with an error that names the limit, and never with a call that hangs."""

from typing import Any

import pytest

from algocline_mcp.config.limits import KIB, MIB
from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import stop_via_pool
from tests.rig.rig import ASK_ONCE, ENDLESS, Rig, run, say, until

pytestmark = pytest.mark.anyio

CHILD = "return { run = function() return 1 end }"
# Within a step the error is the strategy's own, which it may catch: limits, code, sentence.
ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "heap": ({"heap_bytes": 8 * MIB}, "local t = {} while true do t[#t + 1] = {} end", "use 8 MiB; keep less"),
    "prompt": ({"prompt_bytes": KIB}, "alc.llm(('x'):rep(2000))", "at most 1024: ask in parts"),
    "queries": (
        {"queries": 2},
        "alc.llm_batch({ {prompt='a'}, {prompt='b'}, {prompt='c'} })",
        "3 prompts at once, at most 2",
    ),
    "result": ({"result_bytes": KIB}, "return ('x'):rep(2000)", "at most 1024 (ALC_RESULT_BYTES)"),
    "key of state": (
        {"state_key_bytes": 16},
        "alc.state.set(('k'):rep(17), 1)",
        "a key of 17 bytes as JSON, at most 16",
    ),
    "value of state": (
        {"state_value_bytes": KIB},
        "alc.state.set('k', ('x'):rep(2000))",
        "a value of 2000 bytes as JSON, at most 1024",
    ),
    "keys of state": ({"state_keys": 2}, "for n = 1, 3 do alc.state.set('k' .. n, n) end", "has 2 keys, at most 2"),
    "card": (
        {"card_bytes": KIB},
        "alc.card.create{pkg = {name = 'p'}, text = ('x'):rep(2000)}",
        "bytes as JSON, at most 1024",
    ),
    "cards": ({"cards": 2}, "for n = 1, 3 do alc.card.create{pkg = {name = 'p'}, n = n} end", "has 2 cards, at most 2"),
    "children": (
        {"children_max": 2},
        "return alc.fork({ 'child', 'child', 'child' }, {})",
        "3 children beside the 0 of this session before, at most 2",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_limit_within_a_step_is_an_error_of_the_strategy_that_names_it(rig: Rig, name: str) -> None:
    limits, code, word = ERRORS[name]
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "child.lua").write_text(CHILD)
    async with rig.pool(**limits) as pool:
        end = (await run(pool, code)).result

    assert end["status"] == "error", end
    assert word in end["error"], end


# What stops a session, or is refused before it begins: limits, code, error_code, sentence.
STOPS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "processor time": ({"step_cpu_s": 0, "strikes": 1}, ENDLESS, "crash_loop", "ALC_STEP_CPU_S"),
    "journal": (
        {"journal_bytes": 64 * KIB},
        "while true do alc.state.set('k', ('x'):rep(1000)) end",
        "journal_full",
        "ALC_JOURNAL_BYTES",
    ),
    "code": ({"code_bytes": KIB}, "--" + "x" * 2000, "too_large", "at most 1024"),
    "sessions of a home": ({"home_sessions": 0}, ASK_ONCE, "home_full", "ALC_HOME_SESSIONS"),
    "bytes of a home": ({"home_bytes": 0}, ASK_ONCE, "home_full", "ALC_HOME_BYTES"),
}


@pytest.mark.parametrize("name", STOPS)
async def test_limit_of_a_session_has_an_error_code(rig: Rig, name: str) -> None:
    limits, code, error_code, word = STOPS[name]
    async with rig.pool(**limits) as pool:
        try:
            end = (await run(pool, code)).result
        except Refused as exc:
            end = {"error_code": exc.code, "error": str(exc)}
        for path in rig.home.sessions.glob("*.journal"):
            await stop_via_pool(pool, path.stem, "cancel")

    assert end["error_code"] == error_code, end
    assert word in end["error"], end


async def test_answer_over_its_limit_is_refused_and_a_shorter_one_is_taken(rig: Rig) -> None:
    async with rig.pool(answer_bytes=KIB) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        with pytest.raises(Refused, match="1024") as caught:
            await say(pool, sid, "q-0", "x" * 2000)
        end = (await say(pool, sid, "q-0", "A")).result

    assert caught.value.code == "too_large"
    assert end["result"] == "got A"


async def test_log_over_its_limit_is_cut_and_the_strategy_goes_on(rig: Rig) -> None:
    async with rig.pool(notes_bytes=4 * KIB) as pool:
        reply = await run(pool, "for _ = 1, 10000 do alc.log('info', ('x'):rep(100)) end return 1")
        path = rig.home.finished_journal(reply.session_id)
        await until(path.exists)  # it is moved there after the reply

    assert reply.result["result"] == 1
    assert path.stat().st_size < 16 * KIB
