"""A revived session is the same session: in another process, time zone, directory, hash seed; with other files."""

import contextlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import Pool, list_via_pool, status_via_pool, stop_via_pool
from tests.rig.fixtures import on_both_storages
from tests.rig.processes import READABLE
from tests.rig.rig import ASK_ONCE, ASK_TWICE, WAIT_S, Rig, kill, run, say, until

pytestmark = pytest.mark.anyio

FICKLE = """
local function look()
  local seen = {}
  local function see(value) seen[#seen + 1] = tostring(value) end
  for _ = 1, 5 do see(math.random(1 << 40)) see(math.random()) end
  see(os.time()) see(os.date("%Y-%m-%d %H:%M:%S")) see(os.date("*t").hour) see(alc.time()) see(os.clock())
  see({}) see(print) see(coroutine.create(print))
  local words = {}
  for i = 1, 200 do words["word" .. i * 7919 % 1000] = i end
  for key, value in pairs(words) do see(key .. value) end
  local items = {}
  for i = 1, 500 do items[i] = {rank = i * 7919 % 10, number = i} end
  table.sort(items, function(a, b) return a.rank < b.rank end)
  for _, item in ipairs(items) do see(item.number) end
  return table.concat(seen, " ")
end
local first = look()
alc.llm(first)
local second = look()
alc.llm(second)
return {first, second}
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_fickle_strategy_sees_the_same_world_again_abroad(
    rig: Rig, use_foreign_environment: Callable[[], None], tmp_path: Path, way: str
) -> None:
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, FICKLE)
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
    use_foreign_environment()
    async with rig.pool(environ={**os.environ, **READABLE, "ALC_SPAWN": way}) as pool:
        second = (await say(pool, sid, "q-0", "A")).result
        is_abroad = os.readlink(f"/proc/{rig.keeper(sid)}/cwd") == str(tmp_path)
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-1", "B")).result

    assert is_abroad
    assert end["status"] == "completed", end
    assert end["result"] == [first["prompt"], second["prompt"]]
    assert first["prompt"] != second["prompt"]


async def test_two_sessions_of_the_same_code_see_different_chance(rig: Rig) -> None:
    async with rig.pool() as pool:
        numbers = {(await run(pool, "return math.random(1 << 50)")).result["result"] for _ in range(5)}

    assert len(numbers) == 5


@on_both_storages
async def test_batch_that_is_answered_between_deaths_keeps_every_answer_in_its_place(rig: Rig) -> None:
    code = 'return table.concat(alc.llm_batch({{prompt = "a"}, {prompt = "b"}, {prompt = "c"}}), ",")'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        for query_id, text in (("q-2", "C"), ("q-0", "A"), ("q-1", "B")):
            await kill(rig.keeper(sid))
            reply = await say(pool, sid, query_id, text)

    assert reply.result["result"] == "A,B,C"


async def test_changed_module_changes_nothing_in_a_paused_session(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "m.lua"
    file.write_text('return {value = "old"}')
    code = 'local m = require("m") alc.llm(m.value) return {m.value, require("m").value}'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, lib_paths=(str(tmp_path),))
        file.write_text('return {value = "new"}')
        await kill(rig.keeper(sid))
        pinned = (await say(pool, sid, "q-0", "A")).result
        fresh = (await run(pool, code, lib_paths=(str(tmp_path),))).result

    assert pinned["result"] == ["old", "old"]
    assert fresh["prompt"] == "new"


async def test_require_that_failed_stays_failed_after_the_module_is_installed(rig: Rig, tmp_path: Path) -> None:
    code = 'local ok = pcall(require, "late") alc.llm("is there: " .. tostring(ok)) return ok'
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, code, lib_paths=(str(tmp_path),))
        (tmp_path / "late.lua").write_text("return 1")
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-0", "A")).result
        fresh = (await run(pool, code, lib_paths=(str(tmp_path),))).result

    assert first["prompt"] == "is there: false"
    assert (end["status"], end["result"]) == ("completed", False)
    assert fresh["prompt"] == "is there: true"


@pytest.mark.slow
async def test_variable_of_the_environment_keeps_the_value_it_was_read_with(rig: Rig) -> None:
    code = 'local x = os.getenv("COLOUR") alc.llm(x) return x'
    async with rig.pool(environ={**os.environ, "ALC_ENV_ALLOW": "COLOUR", "COLOUR": "red"}) as pool:
        sid, *_ = await run(pool, code)
        await kill(rig.keeper(sid))
    async with rig.pool(environ={**os.environ, "ALC_ENV_ALLOW": "COLOUR", "COLOUR": "blue"}) as pool:
        end = (await say(pool, sid, "q-0", "A")).result

    assert end["result"] == "red"


@on_both_storages
async def test_log_lines_and_progress_are_not_repeated(rig: Rig) -> None:
    code = 'print("one") alc.progress(1, 2, "half") alc.llm("p") print("two") alc.llm("p") return 1'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        for number in range(2):
            await kill(rig.keeper(sid))
            await say(pool, sid, f"q-{number}", "A")

    assert [note.get("message") for note in rig.records(sid, "note")] == ["one", None, "two"]


@pytest.mark.slow
async def test_answer_that_comes_during_a_long_replay_is_held_and_not_taken_unless_there_is_time(rig: Rig) -> None:
    code = 'local n = 0 for i = 1, 100000000 do n = n + i end return alc.llm("sum " .. n)'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        await kill(rig.keeper(sid))
        early = (await say(pool, sid, "q-0", "early", wait_s=0.02)).result
        end = (await say(pool, sid, "q-0", "late")).result

    assert early["status"] == "running"
    assert early["next"] == "the answer is not taken yet: send the same answer again"
    assert end["result"] == "late"
    assert rig.answers(sid) == [("q-0", "late")]


# ── journals that cannot go on ────────────────────────────────────────────────────────────────────────────


def rewrite(path: Path, old: bytes, new: bytes) -> bytes:
    """Changes the header to text of the same length, with a right checksum; returns what the file holds then."""
    assert len(old) == len(new)
    head, _, rest = path.read_bytes().partition(b"\n")
    text = head[9:].replace(old, new)
    assert text != head[9:]
    path.write_bytes(b"%08x %s\n%s" % (zlib.crc32(text), text, rest))
    return path.read_bytes()


async def paused_without_worker(rig: Rig, pool: Pool, code: str) -> str:
    """A session with one answer that waits at q-1."""
    sid, *_ = await run(pool, code)
    await say(pool, sid, "q-0", "A")
    await stop_via_pool(pool, sid, "hibernate")
    await until(lambda: not rig.workers())
    return sid


async def test_a_recorded_prompt_is_served_whatever_its_size_is_now(rig: Rig) -> None:
    """Versions before 0.3 measured the text of a prompt alone."""
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        rewrite(rig.journal(sid), b'"prompt_bytes":4194304', b'"prompt_bytes":     10')
        end = (await say(pool, sid, "q-1", "B")).result

    assert end["status"] == "completed", end


async def test_altered_code_is_diverged_with_both_prompts_and_nothing_is_delivered(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        content = rewrite(rig.journal(sid), b"second after", b"SECOND after")
        results = [(await say(pool, sid, "q-1", "B")).result, (await status_via_pool(pool, sid)).result]
        other = (await run(pool, ASK_ONCE)).result
        untouched = rig.journal(sid).read_bytes() == content
        end = (await stop_via_pool(pool, sid, "cancel")).result

    for result in results:
        assert (result["status"], result["error_code"]) == ("error", "diverged")
        assert result["recorded"] == {"asked": ["second after A"]}
        assert result["replayed"] == {"asked": ["SECOND after A"]}
        assert "no answer was delivered" in result["error"]
        assert "the code, its modules or the engine are not those that wrote this journal" in result["error"]
        assert "journal is untouched" in result["next"]
    assert untouched
    assert other["prompt"] == "question"
    assert end["status"] == "cancelled"
    assert rig.answers(sid) == [("q-0", "A")]


async def test_code_that_ends_where_it_asked_is_diverged(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        rewrite(rig.journal(sid), b"local b = alc.llm(", b"local b = #tostri(")
        result = (await say(pool, sid, "q-1", "B")).result

    assert result["error_code"] == "diverged"
    assert result["replayed"]["ended"] is True


async def test_journal_of_another_engine_needs_that_version_and_stays_untouched(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        content = rewrite(rig.journal(sid), b"Lua 5.5", b"Lua 9.9")
        result = (await say(pool, sid, "q-1", "B")).result

        assert (result["status"], result["error_code"]) == ("error", "needs_version")
        assert "Lua 9.9" in result["error"]
        assert rig.journal(sid).read_bytes() == content


async def test_journal_damaged_below_what_was_acknowledged_is_corrupt_and_stays_untouched(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        other, *_ = await run(pool, ASK_ONCE)
        content = bytearray(rig.journal(sid).read_bytes())
        content[content.index(b'"kind":"answer"') + 3] ^= 1
        rig.journal(sid).write_bytes(content)
        results = [
            (await say(pool, sid, "q-1", "B")).result,
            (await status_via_pool(pool, sid)).result,
            (await status_via_pool(pool, sid, wait_s=WAIT_S)).result,
            (await stop_via_pool(pool, sid, "cancel")).result,
        ]
        listed = {line["session_id"]: line for line in (await list_via_pool(pool))["sessions"]}
        end = (await say(pool, other, "q-0", "A")).result

        assert {(each["status"], each["error_code"]) for each in results} == {("error", "corrupt")}
        assert f"{rig.journal(sid)} is damaged in line" in results[0]["error"]
        assert listed[sid]["error_code"] == "corrupt"
        assert listed[other]["status"] == "needs_response"
        assert end["result"] == "got A"
        assert rig.journal(sid).read_bytes() == content


async def test_half_a_record_at_the_end_is_the_trace_of_a_cut_and_is_cut_off(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        with rig.journal(sid).open("ab") as file:
            file.write(b'5bd1e995 {"kind":"answer","answers":[{"id":"q-1","resp')
        end = (await say(pool, sid, "q-1", "B")).result

    assert end["result"] == "A+B"
    assert rig.answers(sid) == [("q-0", "A"), ("q-1", "B")]


ADDRESSES = "such as the order of a table whose keys are tables"


async def test_strategy_that_depends_on_addresses_is_diverged_and_the_likely_cause_is_named(rig: Rig) -> None:
    code = """
    local set = {}
    for i = 1, 60 do set[{}] = i end
    local order = {}
    for _, number in pairs(set) do order[#order + 1] = number end
    alc.llm(table.concat(order, " "))
    """
    results: list[dict[str, Any]] = []
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": "exec"}) as pool:
        # By chance both replays have the same order: then the cause looks like another one, and a new session is tried.
        while len(results) < 20 and not (results and ADDRESSES in results[-1]["error"]):
            sid, *_ = await run(pool, code)
            result: dict[str, Any] = {}
            while not result:
                await stop_via_pool(pool, sid, "hibernate")
                await until(lambda: not rig.workers())
                with contextlib.suppress(Refused):  # by chance the order is the same, and only the id is unknown
                    result = (await say(pool, sid, "q-9", "?")).result
            results.append(result)

    assert {result["error_code"] for result in results} == {"diverged"}
    assert ADDRESSES in results[-1]["error"]
