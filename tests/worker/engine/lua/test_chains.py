"""Chains: functions that alc.parallel runs side by side. What they ask together, in which order, and how they fail."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.engine.lua.in_process import FakeChannel, play
from tests.worker.engine.python.fake_exchange import Choose, FakeExchange, all_at_once, in_random_order, one_by_one

CHAIN = """
local function chain(name, length)
  local answer = name
  for _ = 1, length or 2 do
    answer = alc.llm(answer)
  end
  return answer
end
"""


class Host(FakeChannel):
    """Answers waits as the exchange of Python's tests does: what `choose` says of the open queries."""

    def __init__(self, choose: Choose = all_at_once, **options: Any) -> None:
        super().__init__()
        self.exchange = FakeExchange(choose, **options)
        self.withdrawn: list[int] = []
        self.exchange.abandoned = lambda: self.withdrawn
        self.lines: list[bytes] = []

    def ask(self, line: bytes) -> bytes:
        self.lines.append(line)
        message = json.loads(line)
        try:
            if message["op"] == "wait":
                self.withdrawn = message.get("withdrawn", [])
                reply: dict[str, Any] = self.exchange.ask_any(message["queries"], message["wake_s"])
            elif message["op"] == "ask":
                reply = {"answers": self.exchange.ask(message["queries"])}
            else:
                return super().ask(line)
        except RuntimeError as exc:  # alc.Error, as the keeper refuses a message
            reply = {"error": str(exc)}
        return json.dumps(reply).encode()


def run(code: str, host: Host | None = None) -> Any:
    return play(CHAIN + code, host or Host()).result


def failure(code: str, host: Host | None = None) -> str:
    """The first line of the error."""
    return play(CHAIN + code, host or Host()).error.partition("\n")[0]


FIVE = "alc.parallel({'c0', 'c1', 'c2', 'c3', 'c4'}, chain, { chain = true })"
FORMS = {
    "an item for each": "return alc.parallel({'c0', 'c1', 'c2', 'c3', 'c4'},"
    " function(name) return chain(name) end, { chain = true })",
    "functions": "local fns = {} for i = 0, 4 do fns[i + 1] = function() return chain('c' .. i) end end"
    " return alc.parallel(fns)",
    "functions and options": "local fns = {} for i = 0, 4 do fns[i + 1] = function() return chain('c' .. i) end end"
    " return alc.parallel(fns, { on_error = 'fail' })",
    "batches in chains": "return alc.parallel({1, 2}, function(n) local texts = n == 1 and {'c0', 'c1'} or"
    " {'c2', 'c3', 'c4'} local again = alc.parallel(texts, function(text) return text end)"
    " return alc.parallel(again, function(text) return text end) end, { chain = true })",
    "chains in chains": "return alc.parallel({{'c0', 'c1'}, {'c2', 'c3', 'c4'}}, function(names)"
    " return alc.parallel(names, function(name) return chain(name) end, { chain = true }) end, { chain = true })",
}


@pytest.mark.parametrize("code", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("choose", [all_at_once, one_by_one, *map(in_random_order, range(20))])
def test_answers_in_any_order_give_the_same_result_and_the_same_prompts(code: str, choose: Choose) -> None:
    host = Host(choose)

    result = run(code, host)

    flat = [answer for item in result for answer in (item if isinstance(item, list) else [item])]
    assert flat == [f"re re c{i}" for i in range(5)]
    assert sorted(host.exchange.prompts) == sorted([f"c{i}" for i in range(5)] + [f"re c{i}" for i in range(5)])
    assert host.exchange.prompts[:5] == [f"c{i}" for i in range(5)]


@pytest.mark.parametrize("code", FORMS.values(), ids=FORMS)
def test_all_open_prompts_make_one_pause(code: str) -> None:
    host = Host()

    run(code, host)

    assert [len(pause) for pause in host.exchange.pauses] == [5, 5]


def test_one_answer_lets_one_chain_go_on_while_the_others_wait() -> None:
    host = Host(one_by_one)

    run(FORMS["functions"], host)

    assert host.exchange.pauses[1] == ["c1", "c2", "c3", "c4", "re c0"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers())
def test_prompts_do_not_depend_on_the_order_of_answers(lengths: list[int], seed: int) -> None:
    chains = ", ".join(f"function() return chain('c{i}', {length}) end" for i, length in enumerate(lengths))
    host, again = Host(in_random_order(seed)), Host(in_random_order(seed))

    result = run(f"return alc.parallel({{{chains}}})", host)
    run(f"return alc.parallel({{{chains}}})", again)

    assert result == ["re " * length + f"c{i}" for i, length in enumerate(lengths)]
    assert host.lines == again.lines


# ── what a chain may do ───────────────────────────────────────────────────────────────────────────────────

BODIES = {
    "pcall": ("local ok, answer = pcall(alc.llm, 'a') return answer", "re a"),
    "a refusal that it catches": ("return (select(2, pcall(alc.llm, 'refuse'))):match('refused: .*')", "refused: no"),
    "llm_safe": ("return alc.llm_safe('refuse', {}, 'default')", "default"),
    "a sort that asks": ("local t = {'b', 'a'} table.sort(t, function(x, y) return alc.llm(x) < alc.llm(y) end) "
                         "return t[1]", "a"),
    "a callback of gsub": ("return (('x'):gsub('x', alc.llm))", "re x"),
    "a coroutine of its own": ("return coroutine.wrap(function() return alc.llm('a') end)()", "re a"),
    "a generator": ("local t = {} for answer in coroutine.wrap(function() for i = 1, 3 do "
                    "coroutine.yield(alc.llm(i)) end end) do t[#t + 1] = answer end return table.concat(t, ' ')",
                    "re 1 re 2 re 3"),
    "chains in a callback": ("return (('x'):gsub('x', function(c) return alc.parallel({c}, chain, {chain = true})[1] "
                             "end))", "re re x"),
    "a close variable": ("local c <close> = setmetatable({}, {__close = function() alc.llm('closed') end}) "
                         "return alc.llm('a')", "re a"),
    "nothing": ("return 'x'", "x"),
    "a cached prompt": ("return alc.cache('a') .. alc.cache('a')", "re are a"),
    "a prompt as JSON": ("return tostring(alc.llm_json('a'))", "nil"),
    "a pipe": ("return alc.pipe({function(ctx) return {result = alc.llm(ctx.task)} end}, {task = 't'}).result", "re t"),
    "a phase, a time and a log line": ("alc.phase('p') alc.log('info', alc.time()) return alc.llm('a')", "re a"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "result"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("choose", [all_at_once, one_by_one])
def test_a_chain_may_do_what_a_strategy_does(body: str, result: str, choose: Choose) -> None:
    code = (
        "local function inner(name, length) return chain(name, length) end "
        f"return alc.parallel({{function() {body} end, function() return inner('b', 3) end, function() {body} end}})"
    )
    assert run(code.replace("{c}, chain,", "{c}, function(x) return chain(x) end,"), Host(choose)) == [
        result,
        "re re re b",
        result,
    ]


def test_where_no_coroutine_can_yield_a_prompt_is_asked_alone_and_at_once() -> None:
    host = Host()

    run(
        "return alc.parallel({function() return (('x'):gsub('x', alc.llm)) end, function() return chain('a') end})",
        host,
    )

    assert host.exchange.pauses == [["x"], ["a"], ["re a"]]


def test_modules_that_ask_while_they_are_loaded_are_loaded_once() -> None:
    host = Host()
    host._modules = {"m": "return { answer = alc.llm('loading') }"}

    result = run("return alc.parallel({1, 2}, function() return require('m').answer end, {chain = true})", host)

    assert result == ["re loading", "re loading"]
    assert host.exchange.prompts == ["loading"]


def test_chains_follow_one_another_and_mix_with_single_prompts() -> None:
    host = Host()

    result = run("""
        local function pair(a, b)
          return alc.parallel({function() return chain(a) end, function() return chain(b, 1) end})
        end
        return { pair('a', 'b'), alc.llm('between'), pair('c', 'd') }""", host)  # fmt: skip

    assert result == [["re re a", "re b"], "re between", ["re re c", "re d"]]
    assert host.exchange.pauses == [["a", "b"], ["re a"], ["between"], ["c", "d"], ["re c"]]


def test_results_may_be_any_value_and_nothing_at_all() -> None:
    code = "local r = alc.parallel({function() return {1} end, function() return false end, function() end}) "

    assert run(code + "return {r[1], r[2], r[3] == nil}") == [[1], False, True]


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────

FAILING = """
local closed = 'open'
local function beside()
  local c <close> = setmetatable({}, { __close = function() closed = 'closed' end })
  return chain('beside', 9)
end
local function fails()
  alc.llm('a')
  error('broken', 0)
end
"""


def test_an_error_ends_the_others_and_withdraws_what_they_asked() -> None:
    host = Host(lambda numbers: [n for n in numbers if n == 1] or numbers)

    result = run(
        FAILING + "local ok, e = pcall(alc.parallel, {beside, fails}) return {ok, e, closed, alc.llm('b')}", host
    )

    assert result == [False, "panel.lua:19: alc.parallel: function 2 failed: broken", "closed", "re b"]
    assert host.exchange.withdrawn == ["beside"]
    assert host.exchange.prompts == ["beside", "a", "b"]


def test_an_error_in_inner_chains_reaches_the_outer_chain_which_may_catch_it() -> None:
    host = Host(lambda numbers: numbers[1:2] or numbers)
    inner = "function() return {pcall(alc.parallel, {beside, fails})} end"

    result = run(FAILING + f"return alc.parallel({{{inner}, function() return chain('c') end}})", host)

    assert result == [[False, "panel.lua:19: alc.parallel: function 2 failed: broken"], "re re c"]
    assert host.exchange.withdrawn == ["re beside"]


def test_the_end_of_a_chain_ends_the_chains_in_it() -> None:
    host = Host(one_by_one)
    outer = "{function() return alc.parallel({beside, beside}) end, fails}"

    result = run(FAILING + f"local ok, e = pcall(alc.parallel, {outer}) return closed", host)

    assert result == "closed"
    assert host.exchange.withdrawn == ["beside", "beside"]
    assert host.exchange.prompts == ["a", "beside", "beside"]


def test_skip_keeps_the_others_and_says_what_failed() -> None:
    result = run(FAILING + "return alc.parallel({fails, function() return chain('c') end}, {on_error = 'skip'})")

    assert result == [{"ok": False, "error": "broken"}, {"ok": True, "result": "re re c"}]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("error({code = 5})", '{"code":5}'),
        ("error()", "error raised with nil"),
        ("local x\nreturn x.y", "panel.lua:10: attempt to index a nil value (local 'x')"),
        ("for i in ipairs() do end", "panel.lua:9: bad argument #1 to 'ipairs' (value expected)"),
        ("return 1 + alc.llm('refuse')", "panel.lua:9: alc.llm refused: no"),
        ("\n\nreturn alc.llm('refuse')", "panel.lua:9: alc.llm refused: no"),  # a tail call: where the function begins
        ("alc.llm(nil)", "panel.lua:9: alc.llm: the prompt is missing, a string was expected and not nil"),
        ("coroutine.yield(1)", "coroutine.yield outside of a coroutine"),
        ("local function f() return f() + 1 end f()", "panel.lua:9: stack overflow"),
    ],
)
def test_an_error_is_a_text_with_the_line_of_the_chain(body: str, sentence: str) -> None:
    problem = failure(f"return alc.parallel({{function() {body} end}})")

    assert "alc.parallel: function 1 failed: " + sentence in problem


def test_a_chain_that_is_resumed_by_another_waits_on() -> None:
    code = """
        local first
        return alc.parallel({
          function() first = coroutine.running() return chain('a') end,
          function() coroutine.resume(first, 'junk') return chain('b', 1) end,
        })"""

    assert run(code) == ["re re a", "re b"]


def test_a_failed_chain_that_ends_later_asks_nothing_more() -> None:
    """The first is a caller of the second: it waits in a callback for chains of its own, in which the second fails."""
    host = Host()
    waits = "('x'):gsub('x', function() pcall(alc.parallel, {function() return chain('a', 5) end}) end)"
    code = f"pcall(alc.parallel, {{function() {waits} return alc.llm('too late') end, fails}}) return 'done'"

    assert run(FAILING + code, host) == "done"
    assert "too late" not in host.exchange.prompts


def test_a_budget_refuses_the_chain_that_asks_too_much_and_not_the_others() -> None:
    host = Host(budget=3)
    three = "function(length, i) return chain(({'a', 'b', 'c'})[i], length) end"

    result = run(f"return alc.parallel({{1, 3, 1}}, {three}, {{chain = true, on_error = 'skip'}})", host)

    assert [entry.get("result") for entry in result] == ["re a", None, "re c"]
    assert "panel.lua:5: budget_exceeded: 3 prompts" in result[1]["error"]


def test_what_is_refused_of_several_reaches_only_the_chains_over_the_limit() -> None:
    host = Host(budget=2)

    result = run("return alc.parallel({'a', 'b', 'c'}, function(x) return chain(x, 1) end,"
                 " {chain = true, on_error = 'skip'})", host)  # fmt: skip

    assert [entry.get("result") for entry in result] == ["re a", "re b", None]


MISUSED = [
    ("{}", "alc.parallel: items must be a non-empty array"),
    ("{print, 5}", "alc.parallel: item 2 is a number and not a function: without prompt_fn, all items are functions"),
    ("{print}, {system = 's'}", "alc.parallel: the option system has no effect on functions that ask by themselves"),
    ("{print}, 5", "alc.parallel"),
    ("{1}, print, {chain = true, on_error = 'go'}", "on_error must be 'fail', 'abort' or 'skip' and not go"),
    ("{1}, print, {chain = true, post_fn = print}", "the option post_fn has no effect on functions"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISUSED)
def test_misuse_is_one_sentence_at_the_line_of_the_call(arguments: str, sentence: str) -> None:
    problem = failure(f"return alc.parallel({arguments})")

    assert problem.startswith("panel.lua:9: ")
    assert sentence in problem


def test_more_chains_than_the_limit_are_refused_and_the_limit_is_not() -> None:
    many = "local fns = {} for i = 1, %d do fns[i] = function() return chain(i, 1) end end return #alc.parallel(fns)"

    assert run(many % 256) == 256
    assert "alc.parallel: 257 functions side by side, at most 256: run them in groups" in failure(many % 257)


def test_a_prompt_function_that_asks_by_itself_is_told_of_the_option() -> None:
    host = Host()

    ended = play("return alc.parallel({'x', 'y'}, function(x) return 'check ' .. alc.llm(x) end)", host)

    assert ended.result == ["re check re x", "re check re y"]  # as ever
    (warning,) = ended.message["warnings"]
    assert "give alc.parallel the option chain = true" in warning


def test_memory_that_is_used_up_in_a_chain_ends_the_session() -> None:
    code = "return alc.parallel({function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end}, "

    assert "out of memory" in failure(code + "{on_error = 'skip'})")
