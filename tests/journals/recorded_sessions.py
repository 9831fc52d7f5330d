"""The sessions whose journals each release keeps for later releases.

Contract: `write` creates a journal with this program. `resume` copies a journal into an empty home and continues it as
a host would: it answers each query with the query's id. Its result is the same at any time and on any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import Pool, PoolReply, continue_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal_lines
from tests.rig.rig import ENDLESS, WAIT_S, Rig, kill, run, until

_CHANCE = """
local function look(...)
  local seen, words = {math.random(1 << 40), tostring({}), ...}, {}
  for n = 1, 30 do words["w" .. n * 7919 % 100] = n end
  for word in pairs(words) do seen[#seen + 1] = word end
  local items = {}
  for n = 1, 450 do items[n] = {rank = n * 7919 % 10, n = n} end
  table.sort(items, function(a, b) return a.rank < b.rank end)
  seen[#seen + 1] = items[1].n .. "/" .. items[450].n
  return table.concat(seen, " ")
end
local one, two = alc.llm(look(alc.time(), os.date("%H:%M"))), alc.llm(look(os.clock()))
return {one, two, look()}
"""
# Not installed in the home where a journal is resumed: the journal has their source.
_PACKAGES = {
    "words": 'return {first = "alpha", last = "omega"}',
    "child": 'return {run = function(ctx) return alc.llm("one of " .. ctx.n) .. alc.llm("two") end}',
}


@dataclass(frozen=True)
class Script:
    code: str
    answers: Sequence[Sequence[str]] = ()  # the ids of the queries that each call answers
    ctx: dict[str, Any] = field(default_factory=dict)
    branch: Branch | None = None  # the journal is that of this branch
    crashes: int = 0  # of the engine, before the first prompt


SESSIONS = {
    "single": Script('local a = alc.llm("first") return a .. alc.llm("second " .. a)', [["q-0"]]),
    "batch": Script(
        'local r = alc.llm_batch({{prompt = "a"}, {prompt = "b"}, {prompt = "c", system = "s", max_tokens = 7}}) '
        'return {r, alc.llm("then " .. table.concat(r))}',
        [["q-2"]],
    ),
    "state": Script('local n = alc.state.incr("c") local a = alc.llm("n " .. n) return {n, a, alc.state.keys()}'),
    "chance": Script(_CHANCE, [["q-0"]]),
    "module": Script('local m = require("words") return {m.first, alc.llm(m.last), require("words").last}'),
    "fork": Script('return alc.fork({"child", "child"}, {n = 2})', [["f-1-0"]]),
    "notes": Script('print("one") alc.progress(1, 2, "half") local a = alc.llm("p") alc.log("warn", "two") return a'),
    "budget": Script(
        'alc.llm("one") local ok = pcall(alc.llm, "two") alc.stats.record("k", 1) return {ok, alc.budget_remaining()}',
        [],
        {"budget": {"max_llm_calls": 1}},
    ),
    "refused answer": Script('local ok = pcall(alc.llm, "p") return {ok, alc.llm("q")}', [["!q-0"]]),
    "branch": Script(
        'local a = alc.llm("first") return a .. alc.llm("second " .. a)',
        [["q-0"]],
        branch=Branch(at="q-0", response="another"),
    ),
    "edited": Script(
        'local a = alc.llm("first") return a .. alc.llm("second " .. a)',
        [["q-0"]],
        branch=Branch(code='local a = alc.llm("first") return a .. alc.llm("corrected " .. a)'),
    ),
    "stuck": Script(f"if ctx.endless then {ENDLESS} end", [], {"endless": True}, crashes=3),
    "finished": Script('return {alc.llm("p"), 1.5, {}}', [["q-0"]]),
    "failed": Script('error("no: " .. alc.llm("p"))', [["q-0"]]),
}


async def write(rig: Rig, pool: Pool, session: Script) -> bytes:
    """The journal of the session, hibernated or finished."""
    rig.home.packages.mkdir(exist_ok=True)
    for name, text in _PACKAGES.items():
        (rig.home.packages / f"{name}.lua").write_text(text)
    sid, *_ = await run(pool, session.code, ctx=session.ctx, wait_s=0 if session.crashes else WAIT_S)
    for number in range(session.crashes):
        await until(lambda: rig.engines(sid))
        await kill(rig.engine(sid))
        await until(lambda: len(rig.records(sid, "crash")) == number + 1)  # noqa: B023  the wait ends before the next round
    for ids in session.answers:
        await continue_via_pool(pool, sid, [_answer(query_id) for query_id in ids], wait_s=WAIT_S)
    if session.branch is not None:
        sid = (await branch_via_pool(pool, sid, session.branch, wait_s=WAIT_S)).session_id
    await stop_via_pool(pool, sid, "hibernate")
    await until(lambda: not rig.keepers(sid))
    return rig.journal(sid).read_bytes()


def _answer(query_id: str) -> Answer:
    if query_id.startswith("!"):
        return Answer(query_id[1:], refuse="no")
    return Answer(query_id, f"<{query_id}>")


async def resume(pool: Pool, content: bytes) -> dict[str, Any]:
    """Returns `{found, end}`: the session as it is on the disk, and its end."""
    session = fold(journal_lines.scan(content).records)
    is_over = session.phase is Phase.FINISHED
    (pool.home.finished_journal if is_over else pool.home.journal)(session.sid).write_bytes(content)
    reply = await status_via_pool(pool, session.sid)
    on_disk = _shown(reply)
    while reply.result["status"] == "needs_response":
        ids = [query["query_id"] for query in reply.result.get("queries") or [reply.result]]
        reply = await continue_via_pool(pool, session.sid, [_answer(query_id) for query_id in ids], wait_s=WAIT_S)
    return {"found": on_disk, "end": _shown(reply)}


def _shown(reply: PoolReply) -> dict[str, Any]:
    """The part of a reply that does not depend on time or machine."""
    result = reply.result
    shown = {key: result[key] for key in ("status", "result", "error", "error_code") if key in result}
    asks = result.get("queries") or ([result] if "prompt" in result else [])
    return shown | ({"asks": [[query["query_id"], query["prompt"]] for query in asks]} if asks else {})
