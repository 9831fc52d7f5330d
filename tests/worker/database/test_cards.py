"""alc.card with real workers: results, limits, and that a card is created once whatever dies."""

import tomllib
from typing import Any

import pytest

from tests.rig.rig import Rig, finish, run
from tests.worker.database.steps import ALL_CARD_CHANGES, failing, result_of, rows

pytestmark = pytest.mark.anyio

SEED = """
local card = alc.card
local function make(n, more)
  more.card_id, more.pkg = "c" .. n, more.pkg or { name = "p" }
  more.created_at = ("2026-01-0%dT00:00:00Z"):format(n)
  return card.create(more)
end
make(1, { stats = { pass_rate = 0.5 }, scenario = { name = "s" }, model = { id = "gpt-4o" } })
make(2, { stats = { pass_rate = 0.9 }, metadata = { prior_card_id = "c1", prior_relation = "sweep" } })
make(3, { stats = { n = 3 }, metadata = { prior_card_id = "c2", prior_relation = "other" } })
make(4, { pkg = { name = "q" } })
local function ids(list)
  local found = {}
  for i, line in ipairs(list) do found[i] = line.card_id end
  return table.concat(found, " ")
end
local function why(...)
  return (select(2, pcall(...)):gsub("^strategy:%d+: ", ""))
end
local answers = {}
"""
FIRST = {"card_id": "c1", "pkg": "p", "created_at": "2026-01-01T00:00:00Z", "model": "gpt-4o", "scenario": "s"}
NOT_FOUND = "card 'x' not found: alc.card.list() tells which there are"
BAD_NAME = "it has 1 to 200 bytes, does not begin with a dot, and is without /, \\, .. and NUL"
# In this order in one session: what answers -> what it is.
TABLE: dict[str, Any] = {
    "ids(card.list())": "c4 c3 c2 c1",
    "ids(card.list({pkg = 'q'}))": "c4",
    "card.list()[4]": {**FIRST, "pass_rate": 0.5},
    "ids(card.find())": "c4 c3 c2 c1",
    "ids(card.find({where = {stats = {pass_rate = {gte = 0.5}}}, order_by = '-stats.pass_rate'}))": "c2 c1",
    "ids(card.find({pkg = 'p', limit = 1, offset = 1}))": "c2",
    "ids(card.find({where = {}, limit = 1, offset = 1}))": "c3",
    "ids(card.find({order_by = 'card_id', limit = 2}))": "c1 c2",
    "card.find({where = {card_id = 'x'}})": [],
    "why(card.find, {where = {_or = 1}})": "alc.card.find: _or must be an array of tables",
    "why(card.find, {limit = -1})": "alc.card.find: limit must be a whole number of at least 0",
    "why(card.find, {pkg = 5})": "alc.card.find: pkg must be a string",
    "{card.get('c1').stats.pass_rate, card.get('c1').schema_version, card.get('x') == nil}": [0.5, "card/v0", True],
    "why(card.create, {pkg = {name = 'p'}, card_id = 'c1'})":
        "alc.card.create: card 'c1' already exists (immutable): leave card_id out, or use alc.card.append",
    "card.append('c1', {note = {1}}).note": [1],
    "card.get('c1').note": [1],
    "why(card.append, 'c1', {note = 2})":
        "alc.card.append: key 'note' already set on card 'c1' (immutable): use another key",
    "why(card.append, 'x', {a = 1})": f"alc.card.append: {NOT_FOUND}",
    "card.alias_set('best', 'c1').card_id": "c1",
    "card.alias_set('best', 'c2', {pkg = 'p', note = 'n'}).note": "n",
    "card.alias_set('other', 'c3').name": "other",
    "{card.get_by_alias('best').card_id, card.get_by_alias('x') == nil}": ["c2", True],
    "{#card.alias_list(), #card.alias_list({pkg = 'p'}), card.alias_list()[2].name}": [2, 1, "other"],
    "why(card.alias_set, 'a', 'x')": f"alc.card.alias_set: {NOT_FOUND}",
    "why(card.alias_set, '../a', 'c1')": f"alc.card.alias_set: Invalid alias name: '../a': {BAD_NAME}",
    "card.write_samples('c1', {{s = 1}, {s = 2}, {s = 3}}).count": 3,
    "card.read_samples('c1')": [{"s": 1}, {"s": 2}, {"s": 3}],
    "card.read_samples('c1', {where = {s = {gte = 2}}, offset = 1})": [{"s": 3}],
    "card.read_samples('c1', {limit = 1})": [{"s": 1}],
    "why(card.write_samples, 'c1', {1})":
        "alc.card.write_samples: samples already exist for card 'c1' (write-once)",
    "{card.write_samples('c2', {}).count, card.read_samples('c2'), card.read_samples('c3')}": [0, [], []],
    "(pcall(card.write_samples, 'c2', {}))": False,
    "why(card.write_samples, 'c3', {a = 1})": "alc.card.write_samples: samples must be an array",
    "why(card.read_samples, 'x')": f"alc.card.read_samples: {NOT_FOUND}",
    "ids(card.lineage({card_id = 'c3'}).nodes)": "c3 c2 c1",
    "card.lineage({card_id = 'c2', include_stats = false}).edges": [{"from": "c2", "to": "c1", "relation": "sweep"}],
    "ids(card.lineage({card_id = 'c1', direction = 'down', depth = 1}).nodes)": "c1 c2",
    "card.lineage({card_id = 'c1', direction = 'down', depth = 1}).truncated": True,
    "ids(card.lineage({card_id = 'c3', relation_filter = {'sweep'}}).nodes)": "c3",
    "card.lineage({card_id = 'x'}) == nil": True,
    "why(card.lineage, {card_id = 'c1', direction = 'left'})":
        "alc.card.lineage: direction must be 'up', 'down', or 'both' (got 'left')",
}  # fmt: skip


@pytest.mark.slow
async def test_cards_answer(rig: Rig) -> None:
    asked = "".join(f"answers[{n}] = {code}\n" for n, code in enumerate(TABLE, 1))
    async with rig.pool() as pool:
        answers = await result_of(pool, f"{SEED}{asked}return answers")

    assert dict(zip(TABLE, answers, strict=True)) == TABLE


LIMITED = {
    "size": ("alc.card.create({pkg = {name = 'p'}, text = ('x'):rep(1100)})", "a card of 12"),
    "number": ("for _ = 1, 3 do alc.card.create({pkg = {name = 'p'}}) end", "'p' has 2 cards, at most 2"),
    "samples": (
        "alc.card.write_samples(alc.card.create({pkg = {name = 'p'}}).card_id, {('x'):rep(2100)})",
        "samples of 21",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("call", "sentence"), LIMITED.values(), ids=LIMITED.keys())
async def test_call_over_a_limit_is_an_error(rig: Rig, call: str, sentence: str) -> None:
    code = f"local ok, problem = pcall(function() {call} end) return {{ok, problem, #alc.card.list()}}"
    async with rig.pool(card_bytes=1024, samples_bytes=2048, cards=2) as pool:
        ok, problem, count = await result_of(pool, code)

    assert not ok
    assert sentence in problem
    assert count == {"size": 0, "number": 2, "samples": 1}[next(key for key in LIMITED if LIMITED[key][0] == call)]


# ── once ──────────────────────────────────────────────────────────────────────────────────────────────────

# Where each keeper is killed, and how many are until the first pause: the next one comes a change further.
KILLED = {"effect.written:kill:2": 3, "effect.committed:kill:1": 4, "effect.recorded:kill:1": 4}


@pytest.mark.slow
@pytest.mark.parametrize(("point", "kills"), KILLED.items())
async def test_each_change_happens_once_though_its_keeper_is_killed_each_time(rig: Rig, point: str, kills: int) -> None:
    async with rig.pool(environ=failing(point), resends=5) as pool:
        paused = await run(pool, ALL_CARD_CHANGES)
        rig.expected_reports.add(sid := paused.session_id)
        report = rig.home.stderr(sid).read_text()
        ended = await finish(pool, paused)

    assert report.count("fail point") == kills
    (card,) = rows(rig, "SELECT card_id, samples FROM cards")
    assert card == (ended["result"], 2)
    assert rows(rig, "SELECT name, card_id FROM aliases") == [("best", card[0])]
    names = ["_aliases.toml", "p", f"{card[0]}.samples.jsonl", f"{card[0]}.toml"]
    assert sorted(path.name for path in rig.home.cards.rglob("*")) == names
    assert tomllib.loads((rig.home.cards / "p" / f"{card[0]}.toml").read_text())["note"] == "n"


MAKER = """
return { run = function(ctx)
  return { made = alc.card.create({ pkg = { name = "p" } }).card_id, asked = alc.llm("p") }
end }
"""


@pytest.mark.slow
async def test_each_child_of_a_fork_creates_exactly_one_card(rig: Rig) -> None:
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "maker.lua").write_text(MAKER)
    code = "local made = alc.fork({'maker', 'maker'}, {}) return {made[1].result.made, made[2].result.made}"
    async with rig.pool(environ=failing("effect.committed:kill:1"), resends=5) as pool:
        paused = await run(pool, code)
        rig.expected_reports.add(paused.session_id)
        ended = await finish(pool, paused)

    assert sorted(ended["result"]) == sorted(card_id for (card_id,) in rows(rig, "SELECT card_id FROM cards"))
    assert len(set(ended["result"])) == 2
