"""alc.*: messages to the keeper, results of the replies, and the places where a strategy may call alc.llm."""

import time
from typing import Any

import pytest

from tests.worker.engine.lua.in_process import NOW_S, Answer, FakeChannel, Query, echo, play

PLAIN = {"prompt": "p", "system": None, "max_tokens": 1024}

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("'p'", {}),
    ("'p', nil", {}),
    ("'p', 'text', 3", {}),
    ("7", {"prompt": "7"}),
    ("'p', {system = 's', max_tokens = 7, grounded = true}", {"system": "s", "max_tokens": 7, "grounded": True}),
    ("'p', {max_tokens = -1}", {}),
    ("'p', {max_tokens = 'many'}", {}),
    ("'p', {max_tokens = 1.5}", {}),
    ("'p', {max_tokens = 1 << 32}", {}),
    ("'p', {max_tokens = (1 << 32) - 1}", {"max_tokens": 2**32 - 1}),
    ("'p', {max_tokens = 50.0}", {"max_tokens": 50}),
    ("'p', {system = 5}", {}),
    ("'p', {grounded = 1, underspecified = false}", {}),
    ("'p', {underspecified = true}", {"underspecified": True}),
    ("'p', {temperature = 0.5, model = 'm', role = 'r', deep = true}",
     {"temperature": 0.5, "model": "m", "role": "r", "deep": True}),
    ("'p', {prompt = 'other', stop = {1}, f = print, [1] = 2, nan = 0/0}", {}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "query"), OPTIONS)
def test_llm_sends_prompt_and_options(arguments: str, query: dict[str, Any]) -> None:
    channel = FakeChannel()

    ended = play(f"return (alc.llm({arguments}))", channel)

    assert channel.queries == [[PLAIN | query]]
    assert ended.result == f"<{channel.queries[0][0]['prompt']}>"


def test_batch_is_one_pause_and_answers_come_in_request_order() -> None:
    channel = FakeChannel()

    ended = play("return alc.llm_batch{{prompt = 'a', system = 's'}, {prompt = 'b', max_tokens = 5}}", channel)

    assert channel.queries == [
        [PLAIN | {"prompt": "a", "system": "s"}, PLAIN | {"prompt": "b", "max_tokens": 5}],
    ]
    assert ended.result == ["<a>", "<b>"]


LONG = "('x'):rep(1025)"
LONG_NAMES = [
    (f"alc.env[{LONG}]", "alc.env: an argument of 1025 bytes, at most 1024: use a shorter one"),
    (f"os.getenv({LONG})", "alc.env: an argument of 1025 bytes"),
    (f"require({LONG})", "alc.module: an argument of 1025 bytes"),
    (f"alc.card.get({LONG})", "alc.card.get: an argument of 1025 bytes"),
    (f"alc.card.alias_set({LONG}, 'c')", "alc.card.alias_set: an argument of 1025 bytes"),
    (f"alc.state.set({LONG}, 1)", "alc.state.set: a key of 1025 bytes as JSON"),
    (f"alc.state.get({LONG})", "alc.state.get: a key of 1025 bytes as JSON"),
]


@pytest.mark.parametrize(("call", "problem"), LONG_NAMES)
def test_a_name_that_is_too_long_is_an_error_before_it_is_sent(call: str, problem: str) -> None:
    channel = FakeChannel()

    ended = play(f"local ok, problem = pcall(function() return {call} end) return problem", channel)

    assert problem in ended.result
    assert channel.calls == []


@pytest.mark.slow
def test_any_number_of_options_costs_little() -> None:
    # Comparing each name with the known ones took 43 s.
    began = time.process_time()

    ended = play("local o = {} for i = 1, 300000 do o['o' .. i] = 1 end alc.llm('p', o) return 1")

    assert ended.result == 1
    assert time.process_time() - began < 15


MISUSED = [
    ("alc.llm()", "alc.llm: the prompt is missing"),
    ("alc.llm({})", "alc.llm: the prompt is missing, a string was expected and not table"),
    ("alc.llm_batch({})", "alc.llm_batch: empty items array"),
    ("alc.llm_batch()", "alc.llm_batch: an array of items was expected and not nil"),
    ("alc.llm_batch{{system = 'x'}}", "alc.llm_batch: item 1: the prompt is missing"),
    ("alc.llm_batch{{prompt = 'a'}, nil, {prompt = 'b'}}", "alc.llm_batch: item 2 is a nil"),
    ("alc.llm_batch{'a'}", "alc.llm_batch: item 1 is a string and not a table {prompt = …}"),
    ("alc.json_decode()", "alc.json_decode: a string was expected and not nil"),
    ("alc.json_encode{print}", "alc.json_encode: the value[1] is a function"),
    ("alc.progress(-1, 2)", "alc.progress: step must be a whole number of at least 0 and not -1"),
    ("alc.progress(1, 2.5)", "alc.progress: total must be"),
    ("alc.progress('1', 2)", "alc.progress: step must be"),
    ("alc.llm(('x'):rep(8 << 20))", "at most 8388608 can be sent"),
]


@pytest.mark.parametrize(("call", "problem"), MISUSED)
def test_misuse_is_a_catchable_error_with_its_line_and_sends_no_query(call: str, problem: str) -> None:
    channel = FakeChannel()

    ended = play(f"local ok, problem = pcall(function()\n {call}\n end)\n return problem", channel)

    assert ended.result.startswith("panel.lua:2: ")
    assert problem in ended.result
    assert channel.queries == []


def test_refusal_is_a_catchable_error_and_the_strategy_goes_on() -> None:
    def refuse_first(query: Query) -> Answer:
        return {"refuse": "too personal"} if query["prompt"] == "a" else echo(query)

    channel = FakeChannel(refuse_first)
    ended = play("local ok, why = pcall(alc.llm, 'a') return {ok, why, alc.llm('b')}", channel)

    assert ended.result == [False, "panel.lua:1: alc.llm refused: too personal", "<b>"]


def test_uncaught_refusal_ends_the_session_with_its_reason() -> None:
    channel = FakeChannel(lambda query: {"refuse": "no"})

    assert "alc.llm refused: no" in play("return alc.llm('a')", channel).error


def test_refused_item_of_a_batch_is_named() -> None:
    channel = FakeChannel(lambda query: {"refuse": "no"} if query["prompt"] == "b" else echo(query))

    ended = play("return alc.llm_batch{{prompt = 'a'}, {prompt = 'b'}}", channel)

    assert "alc.llm_batch refused: item 2: no" in ended.error


BATCH = "local r = alc.llm_batch{{prompt = 'a'}, {prompt = 'b'}} "
USES = [
    "return r",
    "return {x = {r[2]}}",
    "return r[1]",
    "return r[2] == 'yes'",
    "return #r",
    "return r[2] .. ''",
    "return 'x' .. r[2]",
    "return #r[2]",
    "return r[2] + 1",
    "return r[2] < r[2]",
    "return r[2].text",
    "r[2].text = 1",
    "return r[2]()",
    "return tostring(r[2])",
    "return ('%s'):format(r[2])",
    "for k in pairs(r[2]) do end",
    "print(r[2])",
    "return alc.match_bool(r[2])",
    "return alc.parse_score(r[2])",
    "return alc.parse_number(r[2])",
    "return alc.json_extract(r[2])",
    "return alc.json_encode(r)",
    "return alc.vote(r)",
    "return alc.map(r[2], print)",
    "return alc.llm('x' .. r[2])",
]


def refuse_b(query: Query) -> Answer:
    return {"refuse": "no"} if query["prompt"] == "b" else echo(query)


@pytest.mark.parametrize("use", USES)
def test_refused_item_that_was_not_looked_at_raises_wherever_it_is_used(use: str) -> None:
    error = play(BATCH + use, FakeChannel(refuse_b)).error

    assert (
        error.startswith("panel.lua:1: alc.llm_batch refused: item 2: no") or "alc.llm_batch refused: item 2" in error
    )


def test_refused_item_leaves_the_other_answers_to_the_strategy() -> None:
    code = BATCH + "return {alc.refused(r[1]) == nil, alc.refused(r[2]), alc.refused(nil) == nil, r}"

    assert play(code, FakeChannel(refuse_b)).result == [True, "no", True, ["<a>", {"refused": "no"}]]


def test_caught_refusal_counts_as_looked_at() -> None:
    code = BATCH + "local ok, why = pcall(function() return r[2] .. '' end) return {ok, why, r[1]}"

    ok, why, first = play(code, FakeChannel(refuse_b)).result

    assert (ok, first) == (False, "<a>")
    assert why.startswith("panel.lua:1: alc.llm_batch refused: item 2: no")


def test_parallel_gives_a_refused_item_to_post_fn() -> None:
    code = (
        "return alc.parallel({'a', 'b'}, function(x) return x end, "
        "{post_fn = function(answer) return alc.refused(answer) or answer end})"
    )

    assert play(code, FakeChannel(refuse_b)).result == ["<a>", "no"]


WARNED = [
    ("return alc.llm('x', {sytem = 's'})", "the option sytem is not known, was system meant?"),
    ("return alc.llm('x', {maxTokens = 5})", "was max_tokens meant?"),
    ("return alc.llm('x', {max_token = 5})", "was max_tokens meant?"),
    ("return alc.llm('x', {Grounded = true})", "was grounded meant?"),
    ("return alc.llm_batch({{prompt = 'x', sistem = 's'}})", "was system meant?"),
    ("return alc.llm('x', {tools = {}})", "the option tools is a table and was left out"),
    ("return alc.llm('x', {system = 5})", "the option system is a number and was left out"),
    ("return alc.llm('x', {max_tokens = 'many'})", "max_tokens is not a whole number"),
    ("return alc.llm('x', 'y')", "the options are a string and were left out"),
]


@pytest.mark.parametrize(("code", "warning"), WARNED)
def test_input_that_nothing_reads_is_a_warning_in_the_result_and_the_log(code: str, warning: str) -> None:
    channel = FakeChannel()

    ended = play(code, channel)

    (text,) = ended.message["warnings"]
    assert warning in text
    assert channel.logged == [("warn", text)]


@pytest.mark.parametrize("code", ["local x = alc.llm('x')", "", "do return end"])
def test_strategy_without_return_gets_a_warning_in_the_result(code: str) -> None:
    (text,) = play(code).message["warnings"]

    assert text.startswith("the strategy ended without return, so its result is null")


def test_a_warning_is_given_once_and_also_beside_an_error() -> None:
    ended = play("for _ = 1, 3 do alc.llm('x', {sytem = 's'}) end error('late')")

    assert len(ended.message["warnings"]) == 1
    assert "late" in ended.error


@pytest.mark.parametrize(
    "options", ["{temperature = 0.5, model = 'm', role = 'r', top_p = 1, n = 2, stop = 's'}", "nil", "{}"]
)
def test_other_options_are_no_mistake(options: str) -> None:
    assert "warnings" not in play(f"return alc.llm('x', {options})").message


def test_return_nil_is_a_result_and_no_warning() -> None:
    assert play("return nil").message == {"result": None}


CONTEXTS = {
    "pcall": "local _, r = pcall(alc.llm, 'x') return r",
    "xpcall body": "local _, r = xpcall(alc.llm, print, 'x') return r",
    "xpcall message": "local _, r = xpcall(error, function() return alc.llm('x') end, 'e') return r",
    "sort": "local r local t = {3, 1, 2} table.sort(t, function(a, b) r = alc.llm('x') return a < b end)"
            " assert(table.concat(t) == '123') return r",
    "gsub": "return (('a'):gsub('a', function() return alc.llm('x') end))",
    "gsub itself": "return (('x'):gsub('x', alc.llm))",
    "gsub table": "return (('a'):gsub('a', setmetatable({}, {__index = function() return alc.llm('x') end})))",
    "require": "return require('asking')",
    "load reader": "local n = 0 local f = load(function() n = n + 1 return n == 1 and "
                   "('return \"%s\"'):format(alc.llm('x')) or nil end) return f()",
    "coroutine": "return coroutine.wrap(function() return alc.llm('x') end)()",
    "coroutine in coroutine": "return coroutine.wrap(function() local r = coroutine.wrap(function() coroutine.yield(1)"
                              " return alc.llm('x') end) r() return r() end)()",
    "tostring": "return tostring(setmetatable({}, {__tostring = function() return alc.llm('x') end}))",
    "format": "return ('%s'):format(setmetatable({}, {__tostring = function() return alc.llm('x') end}))",
    "index": "return setmetatable({}, {__index = function() return alc.llm('x') end}).k",
    "newindex": "local r setmetatable({}, {__newindex = function() r = alc.llm('x') end}).k = 1 return r",
    "call": "return setmetatable({}, {__call = function() return alc.llm('x') end})()",
    "concat": "return setmetatable({}, {__concat = function() return alc.llm('x') end}) .. ''",
    "lt": "local r local t = setmetatable({}, {__lt = function() r = alc.llm('x') end}) _ = t < t return r",
    "len": "return #setmetatable({}, {__len = function() return alc.llm('x') end})",
    "iterator": "for r in function(_, last) return not last and alc.llm('x') or nil end do return r end",
    "pairs": "for _, r in pairs(setmetatable({}, {__pairs = function() return function(_, k) if not k then return 1,"
             " alc.llm('x') end end end})) do return r end",
    "close": "local r do local c <close> = setmetatable({}, {__close = function() r = alc.llm('x') end}) end return r",
    "close on error": "local r pcall(function() local c <close> = setmetatable({}, {__close = function()"
                      " r = alc.llm('x') end}) error('e') end) return r",
    "dofile of text": "return load('return alc.llm(...)')('x')",
}  # fmt: skip


@pytest.mark.parametrize("context", CONTEXTS)
def test_llm_works_inside(context: str) -> None:
    channel = FakeChannel(modules={"asking": "return alc.llm('x')"})

    assert play(CONTEXTS[context], channel).result == "<x>"
    assert {query["prompt"] for batch in channel.queries for query in batch} == {"x"}


def test_log_progress_and_print_are_sent_in_order() -> None:
    channel = FakeChannel()

    play("alc.log('warn', 'w') alc.log('loud', {1} and 5) print('a', nil, 2.0, true) alc.progress(1, 3, 'now')"
         " alc.progress(2, 3) io.write('x', 1, '\\ny') io.stderr:write('e\\n') print()", channel)  # fmt: skip

    assert channel.sent == [
        {"op": "log", "level": "warn", "message": "w"},
        {"op": "log", "level": "info", "message": "5"},
        {"op": "log", "level": "info", "message": "a\tnil\t2.0\ttrue"},
        {"op": "progress", "step": 1, "total": 3, "message": "now"},
        {"op": "progress", "step": 2, "total": 3, "message": None},
        {"op": "log", "level": "info", "message": "x1"},
        {"op": "log", "level": "warn", "message": "e"},
        {"op": "log", "level": "info", "message": ""},
        {"op": "log", "level": "info", "message": "y"},
    ]


def test_long_log_message_is_cut() -> None:
    channel = FakeChannel()

    play("print(('x'):rep(100000))", channel)

    assert channel.logged == [("info", "x" * 65536 + "…")]


CLOCK = [
    ("alc.time()", NOW_S),
    ("os.time()", int(NOW_S)),
    ("os.clock()", 100.125),
    ("os.date('!%Y-%m-%d %H:%M:%S')", "2026-09-21 14:15:00"),
]


@pytest.mark.parametrize(("code", "result"), CLOCK)
def test_every_clock_is_that_of_the_keeper(code: str, result: Any) -> None:
    channel = FakeChannel()

    assert play(f"return {code}", channel).result == result
    assert channel.calls == [["time"]]


PURE_TIME = [
    ("os.date('!%H:%M', 3600)", "01:00"),
    ("os.date('!*t', 0).year", 1970),
    ("os.difftime(5, 3)", 2.0),
    ("os.time(os.date('*t', 1000000)) == 1000000", True),
]


@pytest.mark.parametrize(("code", "result"), PURE_TIME)
def test_times_computed_from_numbers_send_no_call(code: str, result: Any) -> None:
    channel = FakeChannel()

    assert play(f"return {code}", channel).result == result
    assert channel.calls == []


def test_getenv_asks_the_keeper() -> None:
    channel = FakeChannel(environ={"A": "1"})

    assert play("return {os.getenv('A'), os.getenv('B') == nil}", channel).result == ["1", True]
    assert channel.calls == [["env", "A"], ["env", "B"]]


class _Deaf(FakeChannel):
    def ask(self, line: bytes) -> bytes:
        raise EOFError("the keeper has gone")


def test_broken_channel_is_raised_by_run_and_is_never_an_object_in_lua() -> None:
    code = "for _ = 1, 3 do local _, e = pcall(alc.llm, 'x') assert(type(e) == 'string' and e:find('keeper')) end"

    with pytest.raises(EOFError, match="has gone"):
        play(code, _Deaf())


class _Chatty(FakeChannel):
    def ask(self, line: bytes) -> bytes:
        return b'{"answers":[{"response":"' + b"x" * (8 << 20) + b'"}]}'


def test_reply_longer_than_a_line_is_an_error() -> None:
    ended = play("local ok, e = pcall(alc.llm, 'x') return e", _Chatty())

    assert "a reply of 8388637 bytes is too long" in ended.result
