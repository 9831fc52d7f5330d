"""Sessions in two languages: alc.call, alc.fork, require and import across them, and their revival."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.sandbox import Sandbox
from algocline_mcp.errors import Refused
from algocline_mcp.languages import PYTHON
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import PoolReply, status_via_pool, stop_via_pool
from algocline_mcp.storage import journal
from tests.rig.rig import WAIT_S, Rig, kill, run, say

pytestmark = pytest.mark.anyio

PACKAGES = {
    "lua_one.lua": "return {run = function(ctx) return {lua = alc.llm('lua ' .. ctx.task)} end}",
    "python_one/__init__.py": (
        "import alc\nfrom .part import ASK\n\nmeta = {'version': '1'}\n\n\ndef run(ctx):\n"
        "    return {'python': alc.llm(ASK + ctx['task'])}\n"
    ),
    "python_one/part.py": "ASK = 'python '\n",
    "inner.py": "import alc\n\n\ndef run(ctx):\n    return [alc.call('lua_one', ctx), alc.llm('inner')]\n",
    "library.py": "x = 1\n",
}


@pytest.fixture
def packages(rig: Rig) -> Path:
    for name, text in PACKAGES.items():
        path = rig.home.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return rig.home.packages


def prompts(reply: PoolReply) -> dict[str, str]:
    queries = reply.result.get("queries") or [reply.result]
    return {query["query_id"]: query["prompt"] for query in queries if "prompt" in query}


CALLS: list[tuple[str, str, list[str], Any]] = [
    ("return alc.call('python_one', ctx)", "lua", ["python T"], {"python": "A"}),
    ("return require('python_one').run(ctx)", "lua", ["python T"], {"python": "A"}),
    (
        "return {require('python_one').meta.version, require('python_one').run(ctx)}",
        "lua",
        ["python T"],
        ["1", {"python": "A"}],
    ),
    ("return alc.call('lua_one', ctx)", "python", ["lua T"], {"lua": "A"}),
    ("return alc.call('python_one', ctx)", "python", ["python T"], {"python": "A"}),
    ("import python_one\nreturn python_one.run(ctx)", "python", ["python T"], {"python": "A"}),
    ("return alc.call('inner', ctx)", "lua", ["lua T", "inner"], [{"lua": "A"}, "A"]),
    ("return alc.call('inner', ctx)", "python", ["lua T", "inner"], [{"lua": "A"}, "A"]),
]


@pytest.mark.parametrize(("code", "language", "asked", "result"), CALLS)
async def test_a_call_across_languages_survives_a_kill_at_each_of_its_prompts(
    rig: Rig, packages: Path, code: str, language: str, asked: list[str], result: Any
) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, code, ctx={"task": "T"}, language=language)
        seen = []
        while prompts(reply):
            ((query_id, prompt),) = prompts(reply).items()
            seen.append(prompt)
            await kill(rig.keeper(reply.session_id))
            reply = await say(pool, reply.session_id, query_id, "A")

    assert (seen, reply.result.get("result"), reply.result["status"]) == (asked, result, "completed"), reply.result


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_children_of_one_fork_may_have_both_languages(rig: Rig, packages: Path, language: str) -> None:
    code = "return alc.fork({'lua_one', 'python_one', 'library', 'absent'}, ctx)"
    if language == "python":
        code = code.replace("{'", "['").replace("'}", "']")
    async with rig.pool() as pool:
        reply = await run(pool, code, ctx={"task": "T"}, language=language)
        asked = prompts(reply)
        for query_id in asked:
            await kill(rig.keeper(reply.session_id))
            reply = await say(pool, reply.session_id, query_id, "A")

    assert sorted(asked.values()) == ["lua T", "python T"]
    entries = reply.result["result"]
    assert [entry["ok"] for entry in entries] == [True, True, False, False]
    assert [entry.get("result") for entry in entries[:2]] == [{"lua": "A"}, {"python": "A"}]
    assert "the package does not export run(ctx)" in entries[2]["error"]
    assert "absent" in entries[3]["error"]


async def test_the_record_of_a_fork_has_the_abi_of_children_in_another_language(rig: Rig, packages: Path) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, "return alc.fork({'lua_one', 'python_one'}, ctx)", ctx={"task": "T"})
        records = journal.read(rig.home.journal(reply.session_id), is_for_host=False)

    (forked,) = [record for record in records if record["kind"] == "fork"]
    assert forked["abis"] == [None, PYTHON.abi(str)]


async def test_import_of_a_package_in_lua_says_how_to_run_it(rig: Rig, packages: Path) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, "import lua_one\nreturn 1", language="python")

    assert reply.result["status"] == "error"
    assert "alc.call('lua_one', ctx)" in reply.result["error"]


async def test_a_branch_may_have_code_in_another_language_and_keeps_the_answers(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, "return alc.llm('one') .. alc.llm('two')")
        await say(pool, reply.session_id, "q-0", "A")
        change = Branch(code="return alc.llm('one') + alc.llm('three')", language="python")
        branch = await branch_via_pool(pool, reply.session_id, change, wait_s=WAIT_S)
        listed = await status_via_pool(pool, branch.session_id)

    assert (branch.result["prompt"], listed.result["status"]) == ("three", "needs_response")
    assert branch.result["branch"]["shared"] == 1


async def test_a_python_package_as_the_strategy_keeps_the_parts_it_has_loaded(rig: Rig, packages: Path) -> None:
    async with rig.pool() as pool:
        code = PACKAGES["python_one/__init__.py"]
        fields: dict[str, Any] = {"chunk": "python_one/__init__.py", "name": "python_one", "language": "python"}
        reply = await run(pool, code, ctx={"task": "T"}, **fields)
        (packages / "python_one" / "part.py").write_text("ASK = 'changed '\n")
        await kill(rig.keeper(reply.session_id))
        last = await say(pool, reply.session_id, "q-0", "A")

    assert prompts(reply) == {"q-0": "python T"}
    assert last.result["result"] == {"python": "A"}


async def test_a_child_that_another_python_wrote_is_not_replayed_and_says_so(rig: Rig, packages: Path) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, "return alc.call('python_one', ctx)", ctx={"task": "T"})
        await stop_via_pool(pool, reply.session_id, "hibernate")
        path = rig.home.journal(reply.session_id)
        header, *records = journal.read(path, is_for_host=False)
        path.unlink()
        file = journal.Journal.create(path, header)
        for record in records:
            if record["kind"] == "fork":
                record = {**record, "abis": [{**record["abis"][0], "interpreter": "CPython 3.7"}]}
            file.append({key: value for key, value in record.items() if key != "s"})
        file.close()
        last = await say(pool, reply.session_id, "f-0-0", "A")

    assert last.result["error_code"] == "needs_version"
    assert "CPython 3.7" in last.result["error"]
    assert PYTHON.interpreter in last.result["error"]


async def test_where_the_kernel_does_not_confine_python_only_lua_runs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Sandbox("standard")
    async with rig.pool() as pool:
        await pool.fork_server.started()
        monkeypatch.setattr(pool.fork_server, "_sandbox", bare)
        with pytest.raises(Refused, match="write the strategy in Lua, or set ALC_PYTHON=trusted") as caught:
            await run(pool, "return 1", language="python")
        in_lua = await run(pool, "return 1")
        monkeypatch.setattr(pool.fork_server, "_sandbox", replace(bare, is_python_trusted=True))
        trusted = await run(pool, "return 2", language="python")

    assert caught.value.code == "sandbox_incomplete"
    assert (in_lua.result["result"], trusted.result["result"]) == (1, 2)
    assert len([*rig.home.sessions.rglob("*.journal")]) == 2
