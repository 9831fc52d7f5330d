"""Conformance of forks, pipes and tuning."""

# ruff: noqa: E501  one row, one line

from typing import Any

from tests.worker.engine.conformance.case import Case

ENTRIES = [{"strategy": "a", "ok": True, "result": 1}, {"strategy": "b", "ok": False, "error": "no"}]
FAILED = {"fork": [{"failed": {"strategy": "a", "error": "boom"}}]}


def fork(*strategies: str, ctx: Any = None, on_error: str = "skip") -> dict[str, Any]:
    return {"op": "fork", "strategies": list(strategies), "ctx": ctx or {}, "on_error": on_error}


ADD = ("function(ctx) ctx.result = ctx.n + 1 return ctx end", "lambda ctx: {**ctx, 'result': ctx['n'] + 1}")
SAY = (
    "function(ctx) ctx.result = 'got ' .. ctx.task return ctx end",
    "lambda ctx: {**ctx, 'result': 'got ' + ctx['task']}",
)
DEFAULTS = ("{a = 1, n = {x = 1, y = 2}, _schema = 1}", "{'a': 1, 'n': {'x': 1, 'y': 2}, '_schema': 1}")

CASES = [
    # ── fork ──────────────────────────────────────────────────────────────────────────────────────────────
    Case("alc.fork({'a', 'b'}, {n = 1})", "alc.fork(['a', 'b'], {'n': 1})", ENTRIES, replies={"fork": [{"entries": ENTRIES}]}, messages=[fork("a", "b", ctx={"n": 1})]),
    Case("alc.fork({'a'}, {}, {on_error = 'abort'})", "alc.fork(['a'], {}, on_error='abort')", ENTRIES, replies={"fork": [{"entries": ENTRIES}]}, messages=[fork("a", on_error="fail")]),
    Case("alc.fork({'a'}, {}, {on_error = 'fail'})", "alc.fork(['a'], {}, on_error='fail')", error="alc.fork: strategy 'a' failed: boom", replies=FAILED),
    Case("alc.fork({}, {})", "alc.fork([], {})", error="alc.fork: strategies must be a non-empty {array}", messages=[]),
    Case("alc.fork({'a/b'}, {})", "alc.fork(['a/b'], {})", error="alc.fork: invalid strategy name 'a/b' (only alphanumeric and underscore allowed)", messages=[]),
    Case("alc.fork({'a'}, 5)", "alc.fork(['a'], 5)", error="alc.fork: ctx must be {names as keys}", messages=[]),
    Case("alc.fork({'a'}, {1})", "alc.fork(['a'], [1])", error="alc.fork: ctx must be {names as keys}", messages=[]),
    Case("alc.fork({'a'}, {}, {on_error = 'x'})", "alc.fork(['a'], {}, on_error='x')", error="alc.fork: on_error must be 'skip', 'fail' or 'abort' and not x", messages=[]),
    Case("alc.call('a', {n = 1})", "alc.call('a', {'n': 1})", 1, replies={"fork": [{"entries": ENTRIES[:1]}]}, messages=[fork("a", ctx={"n": 1}, on_error="fail")]),
    Case("alc.call('a')", "alc.call('a')", 1, replies={"fork": [{"entries": ENTRIES[:1]}]}, messages=[fork("a", on_error="fail")]),
    Case("alc.call('a')", "alc.call('a')", error="alc.call: strategy 'a' failed: boom", replies=FAILED),
    Case("alc.call('a b')", "alc.call('a b')", error="alc.call: invalid strategy name 'a b' (only alphanumeric and underscore allowed)", messages=[]),
    Case("alc.call('a', 5)", "alc.call('a', 5)", error="alc.call: ctx must be {names as keys}", messages=[]),
    # ── pipe ──────────────────────────────────────────────────────────────────────────────────────────────
    Case(
        f"alc.pipe({{{ADD[0]}, {SAY[0]}}}, {{n = 1}})",
        f"alc.pipe([{ADD[1]}, {SAY[1]}], {{'n': 1}})",
        {"n": 1, "task": "2", "result": "got 2", "pipe_history": [{"strategy": "(inline-1)", "result": 2}, {"strategy": "(inline-2)", "result": "got 2"}]},
    ),
    Case(
        "local seen = {} alc.pipe({function(ctx) return ctx end}, {}, {on_stage = function(i, name) seen = {i - 1, name} end}) return seen",
        "seen = []\nalc.pipe([lambda ctx: ctx], {}, on_stage=lambda i, name, ctx: seen.extend([i, name]))\nreturn seen",
        [0, "(inline-1)"],
    ),
    Case("alc.pipe({}, {})", "alc.pipe([], {})", error="alc.pipe: strategies must be a non-empty {array}"),
    Case("alc.pipe({print}, 5)", "alc.pipe([print], 5)", error="alc.pipe: ctx must be {a table}"),
    Case("alc.pipe({print}, {}, {on_error = 'x'})", "alc.pipe([print], {}, on_error='x')", error="alc.pipe: on_error must be 'abort', 'skip' or 'continue' and not x"),
    Case("alc.pipe({5}, {})", "alc.pipe([5], {})", error="alc.pipe: strategy[1] must be a string or function"),
    Case("alc.pipe({function() return 5 end}, {})", "alc.pipe([lambda ctx: 5], {})", error="alc.pipe: strategy '(inline-1)' must return {a table} (ctx)"),
    Case("alc.pipe({function() alc.llm('p') end}, {})", "alc.pipe([lambda ctx: alc.llm('p')], {})", error="alc.llm refused: no", answers=[{"refuse": "no"}]),
    Case(
        f"alc.pipe({{function() alc.llm('p') end, {ADD[0]}}}, {{n = 1}}, {{on_error = 'skip'}}).result",
        f"alc.pipe([lambda ctx: alc.llm('p'), {ADD[1]}], {{'n': 1}}, on_error='skip')['result']",
        2,
        answers=[{"refuse": "no"}],
        logged=["warn: alc.pipe: strategy '(inline-1)' failed: "],
    ),
    # ── tuning ────────────────────────────────────────────────────────────────────────────────────────────
    Case(f"alc.tuning({DEFAULTS[0]})", f"alc.tuning({DEFAULTS[1]})", {"a": 1, "n": {"x": 1, "y": 2}}),
    Case(f"alc.tuning({DEFAULTS[0]}, {{a = 5, n = {{x = 9}}, z = 1}})", f"alc.tuning({DEFAULTS[1]}, {{'a': 5, 'n': {{'x': 9}}, 'z': 1}})", {"a": 5, "n": {"x": 9, "y": 2}}),
    Case("alc.tuning({a = 1}, {p = {a = 2}, a = 3}, {prefix = 'p'})", "alc.tuning({'a': 1}, {'p': {'a': 2}, 'a': 3}, prefix='p')", {"a": 2}),
    Case("alc.tuning({a = 1}, {p = 5}, {prefix = 'p'})", "alc.tuning({'a': 1}, {'p': 5}, prefix='p')", {"a": 1}, logged=["warn: alc.tuning: ctx.p is a "]),
    Case("alc.tuning({a = {1, 2}}, {a = {3}})", "alc.tuning({'a': [1, 2]}, {'a': [3]})", {"a": [3]}),
    Case("alc.tuning(5)", "alc.tuning(5)", 5),
]  # fmt: skip
