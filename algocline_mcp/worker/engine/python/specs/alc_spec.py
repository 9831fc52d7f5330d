"""Test library of packages in Python. A spec file has functions `test_…`, which use `assert`.

A test with an argument `model` gets a Model that answers its prompts. Each test begins with its own.

Contract: an engine runs `run` with `{source, chunk}` of one spec file in ctx, as a strategy. It returns {passed,
pending, failed, failures = [{name, error}]}; an error of the file outside of its tests is one of the strategy. An
`assert a == b` that fails shows where both differ.
"""

import ast
import asyncio
import difflib
import inspect
import pprint
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_MAX_FAILURES, _MAX_CHARS = 100, 2000  # failures that are returned, and characters of each
_SHORT_CHARS = 60  # two values that are no longer are shown whole
_MAX_LINES = 400  # of a value that is compared: difflib takes the square of them
_EQUAL = "__alc_assert_equal__"

Answer = Any  # a text, alc.Refused, or a function of the prompt


class Model:
    """Answers prompts. `answers`: a part of a prompt -> the answer, or a list of answers, one after the other; the
    first part that the prompt contains counts. `default` answers the others. An answer is a text, a function of the
    prompt, or `alc.Refused("…", "the reason")`. `prompts` were asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.default: Answer | list[Answer] | None = None
        self.prompts: list[str] = []
        self._asked = 0
        self._recorded: list[Mapping[str, str]] | None = None

    def replay(self, run: Callable[[Any], Any], ctx: Mapping[str, Any], turns: Sequence[Mapping[str, str]]) -> Any:
        """The result of `run(ctx)` as JSON. `turns`: the prompts of a recorded session in order, each with its answer,
        `{prompt, response}` or `{prompt, refuse}`. Another prompt, or one too few, fails the test."""
        self._recorded = list(turns)
        result = run(dict(ctx))
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        if (left := len(turns) - len(self.prompts)) > 0:
            raise AssertionError(f"{left} of the {len(turns)} recorded prompts were not asked")
        self._recorded = None
        return sys.modules["algocline_mcp.worker.engine.python.results"].to_json(result)

    def ask(self, queries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._reply(str(query["prompt"])) for query in queries]

    def ask_any(self, queries: Sequence[dict[str, Any]], wake_s: float | None) -> dict[str, Any]:
        first = self._asked
        self._asked += len(queries)
        return {"answered": list(enumerate(self.ask(queries), first)), "woke": not queries}

    def _reply(self, prompt: str) -> dict[str, Any]:
        self.prompts.append(prompt)
        if self._recorded is not None:
            return self._recorded_reply(self._recorded, prompt)
        answer = self._answer(prompt)
        if callable(answer):
            answer = answer(prompt)
        reason = getattr(answer, "reason", None)  # of alc.Refused
        return {"response": answer} if reason is None else {"refuse": reason}

    def _recorded_reply(self, recorded: Sequence[Mapping[str, str]], prompt: str) -> dict[str, Any]:
        number = len(self.prompts)
        if number > len(recorded):
            raise AssertionError(f"prompt {number} was not asked in the recorded session:\n{prompt[:200]}")
        turn = dict(recorded[number - 1])
        if (expected := turn.pop("prompt")) != prompt:
            raise AssertionError(f"prompt {number} differs from the recorded one\n{difference(prompt, expected)}")
        return turn

    def _answer(self, prompt: str) -> Answer:
        for part, answer in self.answers.items():
            if part in prompt and (not isinstance(answer, list) or answer):
                return answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(self.default, list) and self.default:
            return self.default.pop(0)
        if self.default is None or isinstance(self.default, list):
            raise AssertionError(f"no answer to the prompt {prompt[:200]!r}: set model.answers or model.default")
        return self.default


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "spec", "__file__": ctx["chunk"], _EQUAL: _assert_equal}
    tree = ast.fix_missing_locations(_Equalities().visit(ast.parse(ctx["source"], ctx["chunk"])))
    exec(compile(tree, ctx["chunk"], "exec"), namespace)
    tests = {name: value for name, value in namespace.items() if name.startswith("test_") and callable(value)}
    failures = []
    for name, test in tests.items():
        if (error := _error_of(test, ctx)) is not None:
            failures.append({"name": name, "error": error[:_MAX_CHARS]})
    counts = {"passed": len(tests) - len(failures), "pending": 0, "failed": len(failures)}
    return counts | {"failures": failures[:_MAX_FAILURES]}


class _Equalities(ast.NodeTransformer):
    """`assert a == b` becomes a call that knows both values when they differ."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        test = node.test
        if node.msg is not None or not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
            return node
        if len(test.ops) > 1:
            return node
        call = ast.Call(ast.Name(_EQUAL, ast.Load()), [test.left, test.comparators[0]], [])
        return ast.copy_location(ast.Expr(call), node)


def _assert_equal(actual: Any, expected: Any) -> None:
    if not actual == expected:
        raise AssertionError(f"the values differ\n{difference(actual, expected)}")


def difference(actual: Any, expected: Any) -> str:
    """Both values where they are short, else the lines that differ: - is expected, + is what came."""
    if max(len(repr(actual)), len(repr(expected))) <= _SHORT_CHARS:
        return f"    expected {expected!r}\n    but was  {actual!r}"
    before, after = (_lines(value) for value in (expected, actual))
    lines = difflib.unified_diff(before, after, "expected", "but was", n=1, lineterm="")
    return "\n".join(f"    {line}" for line in lines)


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else pprint.pformat(value, width=100, sort_dicts=False)
    return text.splitlines()[:_MAX_LINES]


def _error_of(test: Callable[..., Any], ctx: dict[str, Any]) -> str | None:
    """Runs one test. None where it passes."""
    exchange: Any = sys.modules["algocline_mcp.worker.engine.python.session"].current().exchange
    model = Model()
    exchange.ask, exchange.ask_any = model.ask, model.ask_any
    try:
        result = test(model) if "model" in inspect.signature(test).parameters else test()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exception as exc:  # noqa: BLE001  whatever a test raises is its failure
        return _described(exc, ctx)
    finally:
        del exchange.ask, exchange.ask_any
    return None


def _described(exc: Exception, ctx: dict[str, Any]) -> str:
    """With the last line of the spec that was reached, which says what an assertion without a text was about."""
    lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == ctx["chunk"]]
    line = lines[-1] if lines and lines[-1] else 0
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    source = ctx["source"].splitlines()[line - 1].strip() if line else ""
    return f"{ctx['chunk']}:{line}: {said}" + (f"\n    {source}" if source else "")
