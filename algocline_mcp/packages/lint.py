"""Mistakes in a strategy that are visible without running it: what `alc lint` reports. Pure.

Contract: `findings(text, language)` never raises. It knows the functions of `alc`, their arguments and the keys of
their results from the pages of help, which a test compares with the package alc. In Python it reads the tree; in Lua
the names of `alc` and the tables of options that stand in a call. In doubt nothing is reported.
"""

import ast
import inspect
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache

from algocline_mcp import python_hints
from algocline_mcp.help import topics
from algocline_mcp.languages import PYTHON, Language
from algocline_mcp.packages.lua_options import wrong_options

# Of **options in a signature: keywords of whatever asks. A test compares them with the package alc.
KEYWORDS = ("system", "max_tokens", "grounded", "underspecified", "schema", "label", "options")
SPACES = ("state", "stats", "card", "math")
OTHER_NAMES = ("env", "aio", "Error", "Refused", "BudgetExceeded", "Model", "Options", "Query", "JsonAnswer", *SPACES)
COROUTINES = (
    *("cache", "call", "fork", "ground", "llm", "llm_batch", "llm_json", "llm_safe", "parallel", "pipe", "sleep"),
    "specify",
)
_LINE = re.compile(r"^- `alc\.([\w.]+)(\(.*?\))(?: -> ([^`]*))?`")
_KEYS = re.compile(r"\{([\w, ]+)\}(?: \| None)?")
_LUA_NOISE = re.compile(
    r"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S
)
_LUA_NAME = re.compile(r"(?<![\w.:])alc\.(\w+)(?:\.(\w+))?")
_PYTHON_ONLY = ("main", "schema", "use")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Function:
    """`signature`: what a call may have. `keys`: of a result that is a dict with fixed keys, else empty."""

    signature: inspect.Signature
    keys: tuple[str, ...]


@cache
def functions_of_alc() -> Mapping[str, Function]:
    """By their names behind `alc.`."""
    lines = [match for topic in topics.TOPICS for line in topics.signatures(topic) for match in _LINE.findall(line)]
    return {name: Function(_signature(shown), _keys(result)) for name, shown, result in lines}


def _signature(shown: str) -> inspect.Signature:
    """Of the text of a signature: `(prompt, cache_key=…, **options)`."""
    tree = ast.parse(f"def f{shown.replace('…', 'None')}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments, kinds = tree.args, inspect.Parameter
    first_optional = len(arguments.args) - len(arguments.defaults)
    parameters = [
        kinds(item.arg, kinds.POSITIONAL_OR_KEYWORD, default=kinds.empty if i < first_optional else None)
        for i, item in enumerate(arguments.args)
    ]
    if arguments.vararg is not None:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    parameters += [kinds(item.arg, kinds.KEYWORD_ONLY, default=None) for item in arguments.kwonlyargs]
    if arguments.kwarg is not None:
        given = {parameter.name for parameter in parameters}
        parameters += [kinds(name, kinds.KEYWORD_ONLY, default=None) for name in KEYWORDS if name not in given]
    return inspect.Signature(parameters)


def _keys(result: str) -> tuple[str, ...]:
    match = _KEYS.fullmatch(result or "")
    return tuple(match[1].split(", ")) if match else ()


def findings(text: str, language: Language) -> list[Finding]:
    """Sorted by line."""
    if language is not PYTHON:
        return sorted(_of_lua(text))
    try:
        tree = ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        return [_syntax_error(text, exc)]
    visitor = _Visitor()
    visitor.visit(tree)
    return sorted(visitor.findings)


def _syntax_error(text: str, exc: Exception) -> Finding:
    error = python_hints.syntax_error("line", text) or f"line:{getattr(exc, 'lineno', 1)}: {exc}"
    line = re.match(r"line:(\d+): ", error)
    return Finding(int(line[1]) if line else 1, error[line.end() if line else 0 :].partition("\n")[0])


# ── Lua ───────────────────────────────────────────────────────────────────────────────────────────────────


def _of_lua(text: str) -> Iterator[Finding]:
    code = _LUA_NOISE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    own = set(re.findall(r"\balc\.(\w+)\s*=(?!=)", code)) | set(re.findall(r"function\s+alc\.(\w+)", code))
    line_ends = [match.start() for match in re.finditer("\n", code)]
    for match in _LUA_NAME.finditer(code):
        name = match[1] if match[1] not in SPACES or not match[2] else f"{match[1]}.{match[2]}"
        line = bisect_left(line_ends, match.start()) + 1
        if name in _PYTHON_ONLY:
            yield Finding(line, f"there is no alc.{name} in Lua")
        elif match[1] not in own and not _exists(name):
            yield Finding(line, _unknown(name))
    for place, sentence in () if own else wrong_options(code, text):
        yield Finding(bisect_left(line_ends, place) + 1, sentence)


def _exists(name: str) -> bool:
    space, _, function = name.partition(".")
    if function and space in ("env",):
        return True
    return name in functions_of_alc() or (name in OTHER_NAMES and not function)


def _unknown(name: str) -> str:
    near = get_close_matches(name, functions_of_alc(), 1) or [
        known for known in functions_of_alc() if known.rpartition(".")[2] == name
    ]
    return f"there is no alc.{name}" + (
        f": was alc.{near[0]} meant?" if near else '; alc_catalog(kind="help") lists all'
    )


# ── Python ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Visitor(ast.NodeVisitor):
    findings: list[Finding] = field(default_factory=list)
    _shapes: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)  # variable -> function, keys
    _local: set[str] = field(default_factory=set)

    def visit_Module(self, node: ast.Module) -> None:
        self._local = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and _is_stored(name)}
        if "alc" in self._local:  # another object under this name
            return
        self._check_run(node)
        self._learn_shapes(node)
        self.generic_visit(node)

    def _add(self, node: ast.AST, sentence: str) -> None:
        self.findings.append(Finding(getattr(node, "lineno", 1), sentence))

    def _check_run(self, tree: ast.Module) -> None:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        run = next((node for node in tree.body if isinstance(node, functions) and node.name == "run"), None)
        if run is None:
            return
        if not run.args.args and not run.args.vararg:
            self._add(run, "run has no argument: write def run(ctx)")
        returns = [node for node in _own_nodes(run) if isinstance(node, ast.Return) and node.value is not None]
        ends = any(isinstance(node, ast.Raise | ast.Yield) for node in _own_nodes(run))
        if not returns and not ends:
            self._add(run, "run returns nothing, so the result of the session is null: return a value")
        for node in returns:
            if isinstance(node.value, ast.Lambda):
                self._add(node, "the result is a function: return dicts, lists, texts, numbers, booleans or None")

    def _learn_shapes(self, tree: ast.Module) -> None:
        """Variables that get the result of one function of alc and nothing else, anywhere in the file."""
        stored = [name.id for name in ast.walk(tree) if isinstance(name, ast.Name) and _is_stored(name)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign) or len(node.targets) != 1:
                continue
            target, function = node.targets[0], _called(node.value)
            if isinstance(target, ast.Name) and function is not None and stored.count(target.id) == 1:
                self._shapes[target.id] = (function, _keys_of(function))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if (name := _name_of(node)) is not None:
            space, _, function = name.partition(".")
            if space == "aio" and function and function not in COROUTINES:
                self._add(node, f"there is no alc.aio.{function}: it has {', '.join(COROUTINES)}")
            elif space not in ("aio", "env") and not _exists(name) and (space in SPACES or not function):
                self._add(node, _unknown(name))
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _name_of(node.func) if isinstance(node.func, ast.Attribute) else None
        function = functions_of_alc().get(name.removeprefix("aio.")) if name else None
        if function is not None:
            self._check_call(node, f"alc.{name}", function)
        self.generic_visit(node)

    def _check_call(self, node: ast.Call, name: str, function: Function) -> None:
        is_open = any(isinstance(item, ast.Starred) for item in node.args)
        keywords = [item.arg for item in node.keywords if item.arg is not None]
        known = [parameter.name for parameter in function.signature.parameters.values()]
        for keyword in keywords:
            if keyword not in known:
                near = get_close_matches(keyword, known, 1)
                hint = f": was {near[0]} meant?" if near else f"; it has {', '.join(known) or 'none'}"
                if "options" in known and not near:
                    hint = f": an option of the host is given by options={{'{keyword}': …}}"
                self._add(node, f"{name} has no keyword {keyword}{hint}")
                return
        if is_open or len(keywords) < len(node.keywords):
            return
        try:
            function.signature.bind(*node.args, **dict.fromkeys(keywords))
        except TypeError as exc:
            self._add(node, f"{name}{function.signature} cannot be called so: {exc}")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(node.value, ast.Name):
            name, keys = self._shapes.get(node.value.id, ("", ()))
        else:
            name = _called(node.value) or ""
            keys = _keys_of(name)
        if keys and isinstance(key, str) and key not in keys:
            self._add(node, f"the result of alc.{name} has no {key!r}: it has {', '.join(keys)}")
        self.generic_visit(node)


def _keys_of(function: str) -> tuple[str, ...]:
    known = functions_of_alc().get(function)
    return known.keys if known is not None else ()


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions in it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own_nodes(child)


def _name_of(node: ast.expr) -> str | None:
    """`state.get` of alc.state.get; None where it does not begin with alc."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed(parts)) if isinstance(node, ast.Name) and node.id == "alc" and parts else None


def _called(node: ast.expr) -> str | None:
    return _name_of(node.func) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
