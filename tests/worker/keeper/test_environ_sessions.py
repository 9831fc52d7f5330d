"""alc.env in real sessions: ctx.env gives the variables, the journal keeps those that were read, no view shows them."""

import json
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import view_via_pool
from tests.rig.rig import WAIT_S, Rig, finish, kill, run, say

pytestmark = pytest.mark.anyio

READ = "local a = {alc.env.A, alc.env:get('B'), alc.env.C, alc.env:get('D', 'none')} alc.llm('p') return a"
SECRET = "a-secret-of-the-file"


async def test_variables_come_from_ctx_its_file_and_the_server_and_are_read_once(rig: Rig) -> None:
    file = rig.root / ".env"
    file.write_text(f"A=file\nB={SECRET}\n")
    ctx = {"env": {"inject": {"A": "given"}, "dotenv": ".env"}}
    environ = {"ALC_ENV_ALLOW": "C,D", "C": "os"}
    async with rig.pool(environ=environ) as pool:
        sid, *_ = await run(pool, READ, ctx=ctx, project_root=str(rig.root))
        file.unlink()
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-0", "a")).result
        shown = [await view_via_pool(pool, sid, view) for view in ("log", "code", "result", "history")]

    assert end["result"] == ["given", SECRET, "os", "none"]
    assert SECRET not in json.dumps(shown)


async def test_branch_with_another_ctx_reads_its_own(rig: Rig) -> None:
    async with rig.pool() as pool:
        first = await run(pool, "return {alc.env.A, alc.llm('p')}", ctx={"env": {"inject": {"A": "old"}}})
        await finish(pool, first)
        change = Branch(ctx={"env": {"inject": {"A": "new"}}})
        branch = await branch_via_pool(pool, first.session_id, change, wait_s=WAIT_S)

    assert branch.result["result"] == ["new", "end"]


async def test_children_read_what_the_host_gave_and_not_what_their_parent_injects(rig: Rig) -> None:
    (rig.root / "other").write_text("B=wished\n")
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "child.lua").write_text(
        "return {run = function() return {alc.env.A, alc.env.B or 'none'} end}"
    )
    code = "local r = alc.fork({'child'}, {env = {inject = {A = 'wished'}, dotenv = ctx.other}}) return r[1].result"
    ctx = {"env": {"inject": {"A": "given"}}, "other": str(rig.root / "other")}
    async with rig.pool() as pool:
        end = await finish(pool, await run(pool, code, ctx=ctx))
    (rig.root / "other").unlink()

    assert end["result"] == ["given", "none"]


async def test_file_that_cannot_be_read_is_an_error_that_can_be_caught(rig: Rig) -> None:
    async with rig.pool() as pool:
        code = "local ok, why = pcall(function() return alc.env.A end) return why"
        end = await finish(pool, await run(pool, code, ctx={"env": {"dotenv": "/nowhere/.env"}}))

    assert end["result"] == "strategy:1: ctx.env.dotenv: failed to open /nowhere/.env: there is no such file"


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ("prod", "ctx.env must be an object such as"),
        (["A"], "got array: name a value of your own otherwise"),
        ({"inject": 3}, "ctx.env.inject must be an object, got number"),
        ({"inject": {"A": True}}, "ctx.env.inject: value for key 'A' must be a string, got bool"),
        ({"dotenv": {}}, "ctx.env.dotenv must be a path, got object"),
    ],
)
async def test_malformed_env_is_refused_before_anything_starts(rig: Rig, env: Any, sentence: str) -> None:
    async with rig.pool() as pool:
        with pytest.raises(Refused) as caught:
            await run(pool, "return 1", ctx={"env": env})

    assert sentence in str(caught.value)
    assert list(rig.home.sessions.glob("*.journal")) == []


async def test_env_of_another_shape_is_the_strategys_own(rig: Rig) -> None:
    async with rig.pool() as pool:
        for env in ({"token": 1}, None, {"inject": None}):
            end = await finish(pool, await run(pool, "return {ctx.env, alc.env.token or 0}", ctx={"env": env}))
            assert end["result"] == [env, 0]
